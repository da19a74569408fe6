"""Switching dropout off without leaving training mode."""

import contextlib
from typing import Iterator

import torch.nn as nn
from fairseq.modules import FairseqDropout, LayerDropModuleList

_WITH_P = (FairseqDropout, LayerDropModuleList, nn.Dropout)


@contextlib.contextmanager
def dropout_off(*networks: nn.Module) -> Iterator[None]:
    """Zero every dropout probability of *networks* inside the block.

    A sampled sentence must be rescored under the policy that drew it, which had no dropout.
    ``eval()`` would do the same but cuDNN's recurrent networks have no backward pass in eval mode.
    """
    saved = []
    for network in networks:
        for module in network.modules():
            if isinstance(module, _WITH_P):
                saved.append((module, "p", module.p))
            elif isinstance(module, nn.RNNBase):
                saved.append((module, "dropout", module.dropout))
    for module, name, _ in saved:
        setattr(module, name, 0.0)
    try:
        yield
    finally:
        for module, name, value in saved:
            setattr(module, name, value)
