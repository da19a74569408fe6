"""A weight that moves until what it weighs reaches a target."""

from typing import TYPE_CHECKING, Any, Dict, List, Optional

import torch

from fairseq_ami.optim.running_statistics import UpdateSums

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Multiplier(UpdateSums):
    """Lagrange multiplier of the constraint "the measured mean is at least *target*", by ascent on its dual.

    After each applied update it moves by rate x (target - measured). It rises while too little is measured, and falls
    to 0 while there is more than enough (Pelsmaeker and Aziz 2020, here with a plain step).

    Args:
        start: first value.
        target: of the measured mean.
        rate: of a step.
        limit: the largest value.
        by_validation: whether the last validation measures, or the update's own batches.
    """

    def __init__(self, start: float, target: float, rate: float, limit: float, by_validation: bool = False):
        super().__init__(size=2)
        self.value = start
        self.target, self.rate, self.limit, self.by_validation = target, rate, limit, by_validation
        self._validation: List[float] = [0.0, 0.0]  # total, sentences

    def commit(self, phase: str, group: "Optional[ProcessGroup]" = None, device: Optional[torch.device] = None) -> None:
        """Move once, by what all workers of *group* held: [total, sentences] (a collective call, on *device*)."""
        total, sentences = self.take(phase, group, device)
        if self.by_validation:
            total, sentences = self._validation
        if sentences > 0:
            moved = self.value + self.rate * (self.target - total / sentences)
            self.value = min(max(moved, 0.0), self.limit)

    def start_validation(self) -> None:
        """Forget the last one."""
        self._validation = [0.0, 0.0]

    def add_validation(self, total: float, sentences: float) -> None:
        """Sum over *sentences* of what validation measured, over all workers."""
        self._validation[0] += total
        self._validation[1] += sentences

    def state_dict(self) -> Dict[str, Any]:
        return {"value": self.value, "validation": list(self._validation)}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.value, self._validation = float(state["value"]), list(state["validation"])
