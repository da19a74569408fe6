"""Training stops at numbers that are none: on all workers in the same update, with what to change."""

import copy
import math
from dataclasses import dataclass
from typing import List, Optional, Sequence

import torch
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler
from torch import Tensor

from fairseq_ami.errors import AMIError

MOST_SKIPPED = 100  # updates in a row that half precision may leave out


@dataclass(frozen=True)
class Moment:
    """An update, as an error names it.

    Attributes:
        update: its number.
        phase: its phase.
        save_dir: where the checkpoints are.
        remedy: what to change, a sentence without its full stop.
    """

    update: int
    phase: str
    save_dir: str
    remedy: str

    def error(self, what: str, after: str = "") -> AMIError:
        """The error that *what* ("the loss") is no number; *after* follows the number of the update."""
        return AMIError(
            f"{what} in update {self.update} ({self.phase} phase){after}: training stops, the checkpoints written "
            f"before it in {self.save_dir} are whole. {self.remedy}"
        )


def advice(changes: Sequence[str], update: int, fp16: bool) -> str:
    """What to do about an update that is no number, one or two sentences, the last without its full stop.

    Args:
        changes: what to change about the updates that made the weights, "lower --lr".
        update: number of the update; before update 0 no weight has moved.
        fp16: whether it is in float16, whose largest number is 65504.
    """
    made = "; or ".join(changes)
    start = "No weight has moved yet: look at what the networks start from"
    first = f"{made[:1].upper()}{made[1:]}" if update else start
    return f"{first}. Or train without --fp16: its numbers end at 65504" if fp16 else first


class FiniteWatch:
    """Sees to it that no update goes on with a loss or a gradient that is infinite or not a number.

    It looks at what all workers share already, so that they stop together and nobody waits. That is the norm of the
    summed gradient before the step, and the summed loss in the logs after it. Half precision may leave out updates
    whose gradient overflows, as long as fairseq's loss scaler can mend it.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._moment = Moment(0, "first", "the save folder", "Lower the learning rate")
        self._losses: List[Tensor] = []

    def begin(self, moment: Moment) -> None:
        """Say which update it is; on every worker, also on one without data."""
        self._moment = moment

    def note(self, loss: Tensor) -> None:
        """Remember the *loss*, shape (), of a micro-batch for the error that there may be."""
        self._losses.append(loss.detach())

    def close(self, norm: Tensor, scaler: Optional[DynamicLossScaler] = None) -> None:
        """Look at the gradient of the update, before it is used.

        Args:
            norm: that of the gradient, summed over workers, shape ().
            scaler: fairseq's loss scaler, None without one.

        Raises:
            AMIError: *norm* is not finite and *scaler* cannot mend it.
        """
        losses, self._losses = self._losses, []
        if bool(torch.isfinite(norm)):
            self.skipped = 0
        elif scaler is None:
            raise self._error(losses, norm)
        elif self.skipped >= MOST_SKIPPED or _is_exhausted(scaler):
            raise self._error(losses, norm, self.skipped)
        else:
            self.skipped += 1

    def _error(self, losses: List[Tensor], norm: Tensor, skipped: int = 0) -> AMIError:
        bad = [loss.item() for loss in losses if not torch.isfinite(loss)]
        what = f"the loss is {bad[0]}" if bad else f"the gradient's norm is {norm.item()} (over all workers)"
        return self._moment.error(what, f", after {skipped} updates that half precision left out" if skipped else "")

    def check_sum(self, loss: float) -> None:
        """Look at the *loss*, summed over workers, of an update that was applied.

        Raises:
            AMIError: it is not finite, though the gradient was.
        """
        if not math.isfinite(loss):
            raise self._moment.error(f"the loss is {loss} (over all workers)")


def _is_exhausted(scaler: DynamicLossScaler) -> bool:
    """Whether fairseq would give up at one more overflow."""
    try:
        copy.copy(scaler).check_overflow(math.inf)
    except FloatingPointError:
        return True
    except OverflowError:
        pass
    return False
