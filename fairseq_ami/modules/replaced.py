"""Other weights for a while."""

import contextlib
from typing import Iterator, Sequence

from torch import Tensor
from torch.nn import Parameter


@contextlib.contextmanager
def weights_replaced(parameters: Sequence[Parameter], weights: Sequence[Tensor]) -> Iterator[None]:
    """Let a network compute with *weights* instead of *parameters* inside the block.

    Raises:
        ValueError: they are not as many.
    """
    saved = [parameter.data for parameter in parameters]
    try:
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.data = weight.to(parameter.dtype)
        yield
    finally:
        for parameter, data in zip(parameters, saved):
            parameter.data = data
