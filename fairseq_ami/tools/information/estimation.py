"""Mutual information between two sets of features, by critics trained on one part of the rows."""

import copy
import math
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from fairseq_ami.modules.critics import build_critic, mlp
from fairseq_ami.objectives.estimators import ESTIMATORS
from fairseq_ami.objectives.mutual_information import mine
from fairseq_ami.tools.information.settings import EstimationSettings

BLOCK_ROWS = 1000  # held-out rows that are scored against each other
CHECKS = 25  # times that the critic is looked at on held-out rows
_SCORED_AT_ONCE = 128  # rows of x; bounds the memory of the concat critic


@dataclass(frozen=True)
class Estimate:
    """A figure from rows that neither trained nor chose the critic."""

    nats: float
    update: int  # of the critic that was kept
    cap: Optional[float]  # the highest value that InfoNCE could have had
    diverged: Optional[int]  # update at which training broke off


def part_sizes(rows: int, valid_fraction: float) -> Tuple[int, int, int]:
    """Rows that train the critic, that choose the update, and that give the figure."""
    held_out = round(rows * valid_fraction)
    return rows - held_out, held_out // 2, held_out - held_out // 2


def estimate(
    name: str, x: Tensor, z: Tensor, settings: EstimationSettings, progress: Callable[[Any], Any] = iter
) -> Estimate:
    """Train one estimator's critic and evaluate it on rows kept back.

    A critic that learned its rows by heart gives high figures on those rows, and choosing the best update on the rows
    that give the figure flatters it too. So the rows are parted in three at random: the first part trains, the second
    chooses the update, the third gives the figure. Columns are standardised by the first part, which leaves the
    information as it is. The same seed gives the same parts and batches to every estimator.

    Args:
        name: one of :data:`fairseq_ami.choices.MI_ESTIMATORS`.
        x: one sample per row, shape (rows, x_dim).
        z: shape (rows, z_dim).
        progress: wraps the range of updates, to show a bar.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        parts = torch.randperm(len(x)).split(part_sizes(len(x), settings.valid_fraction))
        (x_train, x_valid, x_test), (z_train, z_valid, z_test) = _standardised(x, parts), _standardised(z, parts)
        estimator = _Estimator(name, x.size(1), z.size(1), settings).to(x.device)
        update, diverged = _fit(estimator, (x_train, z_train), (x_valid, z_valid), settings, progress)
    nats = _over_blocks(estimator.value, x_test, z_test)
    cap = math.log(math.ceil(len(x_test) / _blocks(len(x_test)))) if name == "infonce" else None
    return Estimate(nats, update, cap, diverged)


class _Estimator(nn.Module):
    """One estimator with its critic, and TUBA's log-baseline."""

    def __init__(self, name: str, x_dim: int, z_dim: int, settings: EstimationSettings):
        super().__init__()
        self.name, self.kind, self.clip = name, ESTIMATORS[name], settings.clip
        self.critic = build_critic(settings.critic, x_dim, z_dim, settings.hidden, settings.layers)
        has_baseline = self.kind.needs == "log_baseline"
        self.log_baseline = mlp(x_dim, settings.hidden, settings.layers, 1) if has_baseline else None
        self.log_average: Optional[Tensor] = None

    def scores(self, x: Tensor, z: Tensor) -> Tensor:
        """f(x_i, z_j), shape (n, n), few rows of x at a time."""
        return torch.cat([self.critic(rows, z) for rows in x.split(_SCORED_AT_ONCE)])

    def train_value(self, x: Tensor, z: Tensor) -> Tensor:
        """What an update ascends."""
        if self.name != "mine":
            return self.objective(x, z)
        value, self.log_average = mine(self.scores(x, z), self.log_average)
        return value

    def objective(self, x: Tensor, z: Tensor) -> Tensor:
        """What chooses the update."""
        return self.kind.objective(self.scores(x, z), *self._needed(self.kind.needs, x))

    def value(self, x: Tensor, z: Tensor) -> Tensor:
        """The estimate in nats."""
        if self.kind.estimate is None:
            return self.objective(x, z)
        return self.kind.estimate(self.scores(x, z), *self._needed(self.kind.estimate_needs, x))

    def _needed(self, name: Optional[str], x: Tensor) -> Tuple[Any, ...]:
        if name == "log_baseline":
            return (self.log_baseline(x).squeeze(-1),)
        return (self.clip,) if name == "clip" else ()


def _fit(
    estimator: _Estimator,
    train: Tuple[Tensor, Tensor],
    valid: Tuple[Tensor, Tensor],
    settings: EstimationSettings,
    progress: Callable[[Any], Any],
) -> Tuple[int, Optional[int]]:
    """Leaves the best critic in place; returns its update, and the one at which training broke off."""
    optimizer = torch.optim.Adam(estimator.parameters(), settings.lr)
    batches = _batches(len(train[0]), settings.batch_size)
    every = max(1, settings.updates // CHECKS)
    best, kept, kept_at = _over_blocks(estimator.objective, *valid), copy.deepcopy(estimator.state_dict()), 0
    diverged = None
    for update in progress(range(1, settings.updates + 1)):
        rows = next(batches)
        value = estimator.train_value(train[0][rows], train[1][rows])
        if not math.isfinite(value.item()):
            diverged = update
            break
        optimizer.zero_grad()
        (-value).backward()
        optimizer.step()
        if update % every == 0 or update == settings.updates:
            found = _over_blocks(estimator.objective, *valid)
            if found > best:
                best, kept, kept_at = found, copy.deepcopy(estimator.state_dict()), update
    estimator.load_state_dict(kept)
    return kept_at, diverged


def _standardised(values: Tensor, parts: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
    """The parts in float32, every column with mean 0 and deviation 1 over the first part; constant columns are 0."""
    first = values[parts[0]]
    mean, deviation = first.mean(0), first.std(0)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return tuple(((values[rows] - mean) / deviation).float() for rows in parts)


def _batches(rows: int, size: int) -> Iterator[Tensor]:
    """Endless passes over all rows in random order, whole batches only."""
    while True:
        yield from torch.randperm(rows)[: rows - rows % size].split(size)


def _blocks(rows: int) -> int:
    return math.ceil(rows / BLOCK_ROWS)


@torch.no_grad()
def _over_blocks(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, z: Tensor) -> float:
    """Mean over blocks of rows, equal in size except for one row."""
    count = _blocks(len(x))
    found = [function(*block).item() for block in zip(x.tensor_split(count), z.tensor_split(count))]
    return sum(found) / count
