"""What the workers logged, added up."""

from typing import Any, Dict, List

import torch
from torch import Tensor


def total_sums(logs: List[Dict[str, Any]]) -> Dict[str, float]:
    """The sum of each key over *logs*; tensors that are not of shape () are left out.

    All sums are read at once: the host waits for the device each time it reads.
    """
    totals: Dict[str, Any] = {}
    for log in logs:
        for key, value in log.items():
            if not (isinstance(value, Tensor) and value.dim() > 0):
                totals[key] = totals.get(key, 0) + value
    found = {key: value for key, value in totals.items() if isinstance(value, Tensor)}
    for device in {value.device for value in found.values()}:
        there = {key: value.double() for key, value in found.items() if value.device == device}
        totals.update(zip(there, torch.stack(list(there.values())).tolist()))
    return {key: float(value) for key, value in totals.items()}
