"""Switching dropout off without leaving training mode."""

import contextlib
import functools
from typing import Any, Callable, Iterator, List, Tuple

import torch.nn as nn
from fairseq.modules import FairseqDropout, LayerDropModuleList

_WITH_P = (FairseqDropout, LayerDropModuleList, nn.Dropout)


@contextlib.contextmanager
def dropout_off(*networks: nn.Module) -> Iterator[None]:
    """Zero every dropout probability of *networks* inside the block.

    A sampled sentence must be rescored under the policy that drew it, which had no dropout.
    ``eval()`` would do the same but cuDNN's recurrent networks have no backward pass in eval mode.
    What fairseq's activation checkpointing computes again in the backward pass, after the block, has no dropout either.
    """
    changes: List[Tuple[nn.Module, str, Any]] = []
    for network in networks:
        for module in network.modules():
            if isinstance(module, _WITH_P):
                changes.append((module, "p", 0.0))
            elif isinstance(module, nn.RNNBase):
                changes.append((module, "dropout", 0.0))
            if hasattr(module, "precheckpoint_forward"):
                changes.append((module, "forward", _checkpointed_without_dropout(module)))
    saved = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, value in changes:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in saved:
            setattr(module, name, value)


def _checkpointed_without_dropout(module: nn.Module) -> Callable[..., Any]:
    """The checkpointed forward of *module*, both of whose computations have no dropout."""
    wrapped: Any = module.forward
    _, *options = wrapped.args  # functools.partial: the forward before the wrapper, and where to keep its inputs
    return functools.partial(wrapped.func, functools.partial(_without_dropout, module), *options)


def _without_dropout(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    with dropout_off(module):
        return getattr(module, "precheckpoint_forward")(*args, **kwargs)
