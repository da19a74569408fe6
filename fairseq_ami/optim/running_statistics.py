"""Sums over an update's micro-batches and workers, and running averages of them."""

from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Union

import torch
from fairseq.distributed import utils as distributed_utils
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def on_device(sums: Sequence[Union[Tensor, float]]) -> Tensor:
    """Tensors of shape () and numbers -> float64, shape (len(sums),), without reading the tensors' values."""
    like = next((value for value in sums if isinstance(value, Tensor)), torch.zeros(()))
    values = [value if isinstance(value, Tensor) else like.new_full((), value, dtype=torch.float64) for value in sums]
    return torch.stack([value.double() for value in values])


class UpdateSums:
    """Sums that an applied update leaves behind, exact over micro-batches and workers.

    ``add`` collects the sums of each micro-batch, ``hold`` closes a step (dropping what an overflow left
    behind), ``take`` adds up the workers, once per applied update.

    Args:
        size: how many sums a micro-batch has.
    """

    def __init__(self, size: int):
        self.size = size
        self._open: Dict[str, Tensor] = {}
        self._held: Dict[str, Tensor] = {}

    def add(self, phase: str, sums: Tensor) -> None:
        """*sums*: float64, shape (size,), of a micro-batch."""
        self._open[phase] = self._open.get(phase, 0) + sums.double()

    def hold(self) -> None:
        """End of a step's micro-batches."""
        self._held, self._open = self._open, {}

    def take(
        self, phase: str, group: "Optional[ProcessGroup]" = None, device: Optional[torch.device] = None
    ) -> List[float]:
        """What all workers of *group* held for *phase* (a collective call, on *device*)."""
        sums = self._held.pop(phase, torch.zeros(self.size, dtype=torch.float64))
        self._held = {}
        if group is not None:
            sums = distributed_utils.all_reduce(sums.to(device), group=group)
        return sums.tolist()


class RunningStatistics(UpdateSums):
    """Exponential running mean and standard deviation of a phase's values, moved once per applied update.

    The sums are [count, sum, sum of squares]. What an update uses is known before its batch is seen: a
    baseline does not depend on its samples, and gradients stay additive.

    Args:
        decay: weight of the past.
    """

    def __init__(self, decay: float):
        super().__init__(size=3)
        self.decay = decay
        self.mean: Dict[str, float] = {}
        self.square: Dict[str, float] = {}

    def commit(self, phase: str, group: "Optional[ProcessGroup]" = None, device: Optional[torch.device] = None) -> None:
        """Move the averages of *phase* with what all workers of *group* held (a collective call, on *device*)."""
        count, total, squares = self.take(phase, group, device)
        if count == 0:
            return
        weight = self.decay if phase in self.mean else 0.0
        self.mean[phase] = weight * self.mean.get(phase, 0.0) + (1 - weight) * total / count
        self.square[phase] = weight * self.square.get(phase, 0.0) + (1 - weight) * squares / count

    def ready(self, phase: str) -> bool:
        """Whether the phase has seen values."""
        return phase in self.mean

    def std(self, phase: str) -> float:
        """Running standard deviation of the phase's values."""
        return max(self.square[phase] - self.mean[phase] ** 2, 0.0) ** 0.5

    def state_dict(self) -> Dict[str, Dict[str, float]]:
        return {"mean": dict(self.mean), "square": dict(self.square)}

    def load_state_dict(self, state: Dict[str, Dict[str, float]]) -> None:
        self.mean, self.square = dict(state["mean"]), dict(state["square"])


class RunningSlope(UpdateSums):
    """Running regression of a phase's rewards on the lengths of their samples, moved once per applied update.

    The sums are those of an update over all sources, [sum of l' r', sum of l'^2]. Here l' and r' are lengths and
    rewards minus the means of their source. Numerator and denominator are averaged apart.

    Args:
        decay: weight of the past.
    """

    def __init__(self, decay: float):
        super().__init__(size=2)
        self.decay = decay
        self.products: Dict[str, float] = {}
        self.squares: Dict[str, float] = {}

    def commit(self, phase: str, group: "Optional[ProcessGroup]" = None, device: Optional[torch.device] = None) -> None:
        """Move the averages of *phase* with what all workers of *group* held (a collective call, on *device*)."""
        products, squares = self.take(phase, group, device)
        if squares == 0:  # no source had samples of different lengths
            return
        weight = self.decay if phase in self.squares else 0.0
        self.products[phase] = weight * self.products.get(phase, 0.0) + (1 - weight) * products
        self.squares[phase] = weight * self.squares.get(phase, 0.0) + (1 - weight) * squares

    def slope(self, phase: str) -> Optional[float]:
        """Reward per symbol; None before the first update that tells."""
        return self.products[phase] / self.squares[phase] if phase in self.squares else None

    def state_dict(self) -> Dict[str, Dict[str, float]]:
        return {"products": dict(self.products), "squares": dict(self.squares)}

    def load_state_dict(self, state: Dict[str, Dict[str, float]]) -> None:
        self.products, self.squares = dict(state["products"]), dict(state["squares"])
