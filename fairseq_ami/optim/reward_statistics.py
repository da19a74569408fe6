"""Running mean and spread of the rewards, exact over micro-batches and workers."""

from typing import Dict, Optional

import torch
from fairseq.distributed import utils as distributed_utils
from torch import Tensor


class RewardStatistics:
    """Exponential running averages of a phase's rewards, updated once per applied update.

    ``add`` collects the sums of each micro-batch, ``hold`` closes a step (dropping what an overflow left
    behind), ``commit`` adds up the workers and moves the averages. What an update uses is therefore known
    before its samples are drawn: the baseline does not depend on them, and gradients stay additive.

    Args:
        decay: weight of the past.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.mean: Dict[str, float] = {}
        self.square: Dict[str, float] = {}
        self._open: Dict[str, Tensor] = {}
        self._held: Dict[str, Tensor] = {}

    def add(self, phase: str, sums: Tensor) -> None:
        """*sums*: float64 [count, sum, sum of squares] of a micro-batch's rewards."""
        self._open[phase] = self._open.get(phase, 0) + sums.double()

    def hold(self) -> None:
        """End of a step's micro-batches."""
        self._held, self._open = self._open, {}

    def commit(self, phase: str, group: object = None, device: Optional[torch.device] = None) -> None:
        """Move the averages of *phase* with what all workers of *group* held (a collective call, on *device*)."""
        sums = self._held.pop(phase, torch.zeros(3, dtype=torch.float64))
        self._held = {}
        if group is not None:
            sums = distributed_utils.all_reduce(sums.to(device), group=group)
        count, total, squares = sums.tolist()
        if count == 0:
            return
        weight = self.decay if phase in self.mean else 0.0
        self.mean[phase] = weight * self.mean.get(phase, 0.0) + (1 - weight) * total / count
        self.square[phase] = weight * self.square.get(phase, 0.0) + (1 - weight) * squares / count

    def ready(self, phase: str) -> bool:
        """Whether the phase has seen rewards."""
        return phase in self.mean

    def std(self, phase: str) -> float:
        """Running standard deviation of the phase's rewards."""
        return max(self.square[phase] - self.mean[phase] ** 2, 0.0) ** 0.5

    def state_dict(self) -> Dict[str, Dict[str, float]]:
        return {"mean": dict(self.mean), "square": dict(self.square)}

    def load_state_dict(self, state: Dict[str, Dict[str, float]]) -> None:
        self.mean, self.square = dict(state["mean"]), dict(state["square"])
