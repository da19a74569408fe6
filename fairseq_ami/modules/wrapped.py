"""What several workers put around a model."""

from torch import nn


def unwrapped(model: nn.Module, kind: type) -> object:
    """The model of class *kind* inside the wrappers around it; what stands innermost where there is none."""
    inner: object = model
    while not isinstance(inner, kind) and hasattr(inner, "module"):
        inner = inner.module
    return inner
