"""What the updates of a phase tell about its rewards, for the updates that follow."""

from typing import Optional

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.optim import AMIPhased, RunningSlope, RunningStatistics
from fairseq_ami.optim.running_statistics import on_device
from fairseq_ami.types import UNLABELLED, Log, Weights

# what the criterion logs -> who keeps its running statistics
KEPT = {"reward": "rewards", "advantage": "advantages"}
LENGTHS = "lengths"  # the regression of rewards on lengths


class RewardStatistics:
    """Running statistics of rewards, kept by the optimizer, so that a resume finds them again.

    Args:
        optimizer: of the run.
        unlabelled: whether sentences without references have statistics of their own.
        neutral: whether rewards lose what is linear in length.
    """

    def __init__(self, optimizer: AMIPhased, unlabelled: bool, neutral: bool):
        self.kinds = ("", UNLABELLED) if unlabelled else ("",)
        decay = optimizer.settings.baseline_decay
        for kind in self.kinds:
            for name in KEPT.values():
                optimizer.track(kind + name, RunningStatistics(decay))
            if neutral:
                optimizer.track(kind + LENGTHS, RunningSlope(decay))
        self.trackers = optimizer.trackers

    def step(self, phase: str, update: int, anchor: Optional[Weights], kind: str = "") -> Step:
        """What the criterion is told about one kind of text.

        Args:
            phase, update, anchor: as they are told.
            kind: nothing for pairs, :data:`UNLABELLED` for sentences without references.
        """
        rewards, advantages = (self.trackers[kind + name] for name in KEPT.values())
        lengths = self.trackers.get(kind + LENGTHS)
        return Step(
            phase,
            update,
            reward_mean=rewards.mean.get(phase),
            reward_std=rewards.std(phase) if rewards.ready(phase) else None,
            advantage_std=advantages.std(phase) if advantages.ready(phase) else None,
            length_slope=None if lengths is None else lengths.slope(phase),
            anchor=anchor,
        )

    def add(self, phase: str, log: Log) -> None:
        """Take what a batch has left in *log*."""
        for kind in self.kinds:
            for name, tracker in KEPT.items():
                if f"{kind}{name}_square" in log:
                    sums = [log[kind + key] for key in ("reward_count", f"{name}_sum", f"{name}_square")]
                    self.trackers[kind + tracker].add(phase, on_device(sums))
            if f"{kind}length_square" in log:
                sums = [log[f"{kind}length_product"], log[f"{kind}length_square"]]
                self.trackers[kind + LENGTHS].add(phase, on_device(sums))
