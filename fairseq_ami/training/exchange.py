"""What workers tell one another in an update: gradients of the players that move, and no more."""

from fairseq.distributed import LegacyDistributedDataParallel
from torch import nn

LARGEST = 2**28  # elements that are exchanged at a time; fairseq's own default


def fit_buffer(model: nn.Module) -> None:
    """Make the exchange as large as the gradients of *model* that there will be.

    ``legacy_ddp`` always sends its whole buffer, which it makes for all parameters once and for all.

    Args:
        model: what the trainer calls, after the players' ``requires_grad`` have been set.
    """
    wrapper = getattr(model, "module", None)
    if not isinstance(wrapper, LegacyDistributedDataParallel):
        return
    size = min(LARGEST, sum(p.numel() for p in wrapper.module.parameters() if p.requires_grad))
    if size != wrapper.buffer_size:
        wrapper.buffer_size, wrapper.buffer = size, None
