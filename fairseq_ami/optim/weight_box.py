"""Weight clipping: the compact set of weights that AMI's theorem 1 asks for."""

from typing import List, Optional, Sequence

import torch
from torch import Tensor

MODES = ("relative", "absolute", "none")


@torch.no_grad()
def clip_weights(weights: Sequence[Tensor], width: float, centres: Optional[List[Tensor]]) -> float:
    """Clamp each weight to [centre - width, centre + width], in place.

    Args:
        weights: float32 parameters (the masters in half precision).
        width: half the side of the box.
        centres: middle of the box of each parameter; None is the paper's box around 0.

    Returns:
        The fraction of the weights that were outside.
    """
    clipped: List[Tensor] = []
    for index, weight in enumerate(weights):
        if centres is None:
            low, high = torch.full_like(weight, -width), torch.full_like(weight, width)
        else:
            low, high = centres[index] - width, centres[index] + width
        clipped.append(((weight < low) | (weight > high)).sum())
        weight.copy_(torch.minimum(torch.maximum(weight, low), high))
    total = sum(weight.numel() for weight in weights)
    return int(torch.stack(clipped).sum()) / total if total else 0.0  # read once, so that the host waits once
