"""Update number -> phase and weight of the KL term. Pure, so that resumes and workers agree by construction."""

import re
from dataclasses import dataclass
from typing import Collection, FrozenSet, List, Sequence, Tuple

from fairseq_ami.errors import AMIError

PLAYERS = ("noise", "forward", "backward")
PRETRAIN = "pretrain"
ANNEALINGS = ("constant", "linear", "cyclic")


def parse_phase_cycle(text: str, players: Collection[str] = PLAYERS) -> List[Tuple[str, int]]:
    """``noise=4,forward=8,backward=8`` -> [("noise", 4), ("forward", 8), ("backward", 8)].

    Args:
        text: as it is written on the command line.
        players: the names that it may hold.

    Raises:
        AMIError: not of this form, an unknown or repeated player, or a length below 1.
    """
    cycle: List[Tuple[str, int]] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\w+)\s*=\s*(-?\d+)\s*", part)
        if match is None:
            raise AMIError(f"--phase-cycle: cannot read {part!r}; write it like {_example(players)}")
        player, length = match.group(1), int(match.group(2))
        if player not in players:
            raise AMIError(f"--phase-cycle: unknown player {player!r}; the players are {', '.join(players)}")
        if player in dict(cycle):
            raise AMIError(f"--phase-cycle: {player} stands there twice")
        if length < 1:
            raise AMIError(
                f"--phase-cycle: {player}={length}; a phase has at least one update (leave the player out to drop it)"
            )
        cycle.append((player, length))
    return cycle


def _example(players: Collection[str]) -> str:
    return "noise=4,forward=8,backward=8" if players is PLAYERS else ",".join(f"{player}=1" for player in players)


@dataclass(frozen=True)
class PhaseSchedule:
    """Pretraining, then one player alone, then the cycle for ever.

    Args:
        cycle: (player, updates) in the order in which they play.
        players: who takes part; the phases of the others are dropped.
        pretrain_updates: updates of maximum likelihood on both networks at the start.
        alone_updates: updates of one player alone after that.
        alone: who that is: AMI's noise network.
    """

    cycle: Tuple[Tuple[str, int], ...]
    players: FrozenSet[str]
    pretrain_updates: int = 0
    alone_updates: int = 0
    alone: str = "noise"

    def __post_init__(self) -> None:
        if not self.active_cycle:
            wanted = ", ".join(sorted(self.players)) or "none"
            raise AMIError(f"--phase-cycle has no phase of a player that takes part ({wanted})")
        for stage, updates in (("pretrain", self.pretrain_updates), (self.alone, self.alone_updates)):
            if updates < 0:
                raise AMIError(f"--{stage}-updates must not be negative")

    @property
    def active_cycle(self) -> List[Tuple[str, int]]:
        return [(player, length) for player, length in self.cycle if player in self.players]

    @property
    def minimax_start(self) -> int:
        """The first update of the cycle."""
        return self.pretrain_updates + (self.alone_updates if self.alone in self.players else 0)

    def phase(self, update: int) -> str:
        """``pretrain``, or the name of the player whose turn it is, at update number *update* (from 0)."""
        if update < self.pretrain_updates:
            return PRETRAIN
        if update < self.minimax_start:
            return self.alone
        cycle = self.active_cycle
        place = (update - self.minimax_start) % sum(length for _, length in cycle)
        for player, length in cycle:
            if place < length:
                return player
            place -= length
        raise AssertionError("unreachable")

    @staticmethod
    def movers(phase: str) -> FrozenSet[str]:
        """The players whose weights move in *phase*."""
        return frozenset({"forward", "backward"}) if phase == PRETRAIN else frozenset({phase})


@dataclass(frozen=True)
class Annealing:
    """Update number -> weight of the KL term.

    Args:
        kind: ``constant``, ``linear`` or ``cyclic``. ``linear`` goes from *start* to *end* over *length* updates
            (Bowman et al. 2016). ``cyclic`` has *cycles* cycles in *length* updates, and goes from *start* to *end*
            in the first *ratio* of each. After that it stays at *end* (Fu et al. 2019).
        start: first weight.
        end: last weight.
        length: updates of the whole schedule.
        cycles: how many times the weight rises.
        ratio: part of a cycle in which it rises.
    """

    kind: str = "constant"
    start: float = 0.0
    end: float = 1.0
    length: int = 0
    cycles: int = 1
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ANNEALINGS:
            raise AMIError(f"--kl-anneal: unknown schedule {self.kind!r}; choose one of {', '.join(ANNEALINGS)}")
        if self.kind != "constant" and self.length < 1:
            raise AMIError(f"--kl-anneal {self.kind} needs a length: pass --kl-anneal-updates or --kl-anneal-epochs")
        if self.kind == "cyclic" and (self.cycles < 1 or not 0 < self.ratio <= 1 or self.length < self.cycles):
            raise AMIError(
                "--kl-cycles must be at least 1 and at most the updates of the schedule, --kl-cycle-ratio in (0, 1]"
            )

    def weight(self, update: int) -> float:
        """The weight at update number *update* (from 0)."""
        if self.kind == "constant" or update >= self.length:
            return self.end
        cycles, ratio = (1, 1.0) if self.kind == "linear" else (self.cycles, self.ratio)
        # in whole numbers: a cycle of length / cycles updates is no whole number, and a rounded one starts late
        risen = min(update * cycles % self.length / (self.length * ratio), 1.0)
        return self.start + (self.end - self.start) * risen


def updates_in(epochs: float, batches: int, update_freq: Sequence[int], skip_remainder: bool = False) -> float:
    """How many updates the first *epochs* epochs have; a part of an epoch counts as that part of its updates.

    Args:
        epochs: how many.
        batches: in each of them, on one worker.
        update_freq: batches in an update, one number for each epoch; the last one holds from then on.
        skip_remainder: fairseq's ``--skip-remainder-batch``, which drops the last batch and an update that is not full.
    """
    total, epoch = 0.0, 0
    while epochs > 0:
        freq = update_freq[min(epoch, len(update_freq) - 1)]
        updates = (batches - 1) // freq if skip_remainder else -(-batches // freq)
        total += min(epochs, 1.0) * updates
        epochs, epoch = epochs - 1, epoch + 1
    return total
