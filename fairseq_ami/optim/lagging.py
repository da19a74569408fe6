"""Lagging inference networks (He et al. 2019): when the encoder trains alone, and when that stops."""

import math
from typing import TYPE_CHECKING, Any, Dict, Optional

import torch

from fairseq_ami.optim.running_statistics import UpdateSums

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

INNER, OUTER, JOINT = "inner", "outer", "joint"
STEPPED = {
    INNER: frozenset({"encoder"}),
    OUTER: frozenset({"decoder", "critic"}),
    JOINT: frozenset({"encoder", "decoder", "critic"}),
}


class LaggingSchedule:
    """The only phases that follow losses instead of the update number, hence a state to be saved.

    While *aggressive* there is an inner loop of encoder steps, at most *limit*. It ends when the loss per token of a
    window of steps is worse than that of the window before. Then comes one step of the decoder. When validation
    finds less mutual information than the last one that counted, it is over, and all players step together.

    Args:
        limit: most encoder steps in an inner loop (99 in the authors' code).
        window: encoder steps between two looks at the loss (15).
        interval: decoder steps between two looks at the mutual information, an epoch's in the authors' code;
            validations in between tell nothing. 0: every validation counts.
    """

    def __init__(self, limit: int = 99, window: int = 15, interval: int = 0):
        self.limit, self.window, self.interval = limit, window, interval
        self.aggressive = True
        self.steps = 0  # encoder steps of this inner loop
        self.outer_steps = 0  # decoder steps since the last look at the mutual information
        self.converged = False
        self.window_loss = 0.0
        self.window_tokens = 0.0
        self.previous_window = math.inf
        self.previous_information = -math.inf
        self._validation = [0.0, 0.0]  # sum of MI, sentences
        self._sums = UpdateSums(size=2)

    @property
    def phase(self) -> str:
        """``inner``, ``outer`` or ``joint``."""
        if not self.aggressive:
            return JOINT
        return OUTER if self.converged else INNER

    # ------------------------------------------------------------------ once per update

    def add(self, phase: str, sums: torch.Tensor) -> None:
        """*sums*: [loss, tokens] of a micro-batch, float64."""
        self._sums.add(phase, sums)

    def hold(self) -> None:
        self._sums.hold()

    def commit(self, phase: str, group: "Optional[ProcessGroup]" = None, device: Optional[torch.device] = None) -> None:
        """Count the update just made (collective over *group*)."""
        loss, tokens = self._sums.take(phase, group, device)
        if phase == OUTER:
            self.outer_steps += 1
            self._start_inner()
        elif phase == INNER:
            self.steps += 1
            self.window_loss += loss
            self.window_tokens += tokens
            self._look()

    def _look(self) -> None:
        if self.steps % self.window == 0:
            average = self.window_loss / max(self.window_tokens, 1.0)
            self.converged = average > self.previous_window
            self.previous_window = average
            self.window_loss = self.window_tokens = 0.0
        self.converged = self.converged or self.steps >= self.limit

    def _start_inner(self) -> None:
        self.steps, self.converged = 0, False
        self.window_loss = self.window_tokens = 0.0
        self.previous_window = math.inf

    # ------------------------------------------------------------------ validation

    def start_validation(self) -> None:
        self._validation = [0.0, 0.0]

    def add_validation(self, total: float, sentences: float) -> None:
        """Sum over *sentences* of the mutual information found by validation, over all workers."""
        self._validation[0] += total
        self._validation[1] += sentences

    def end_validation(self) -> None:
        """Stop being aggressive when information fell; called before the next update, so that a checkpoint written
        right after validation decides the same."""
        total, sentences = self._validation
        self.start_validation()
        if sentences == 0 or not self.aggressive or self.outer_steps < self.interval:
            return
        self.outer_steps = 0
        information = total / sentences
        self.aggressive = information >= self.previous_information
        self.previous_information = information

    # ------------------------------------------------------------------ state

    def state_dict(self) -> Dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("limit", "window", "interval", "_sums")}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        vars(self).update({**state, "_validation": list(state["_validation"])})
