"""Adversarial evaluation of replies (Li et al. 2017, section 4), and checks of its evaluator."""

import random
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Sequence, Tuple

import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.replies.evaluator import Example, Judged, train_and_judge
from fairseq_ami.tools.replies.evaluator_settings import EvaluatorSettings
from fairseq_ami.types import Progress

LEAST = 20  # lines
HUMAN, MACHINE, RANDOM = "human", "machine", "random"
# what stands against what -> the adversarial success of a perfect evaluator
CHECKS: Dict[Tuple[str, str], float] = {
    (HUMAN, HUMAN): 0.5, (MACHINE, MACHINE): 0.5, (HUMAN, RANDOM): 0.0, (MACHINE, RANDOM): 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What was found of one system.

    Attributes:
        versus_human: human against machine replies.
        checks: of each situation in :data:`CHECKS`.
    """

    versus_human: Judged
    checks: Dict[Tuple[str, str], Judged]

    @property
    def success(self) -> float:
        """Adversarial success: 1 minus the evaluator's accuracy."""
        return 1 - self.versus_human.accuracy

    @property
    def reliability_error(self) -> float:
        """Evaluator reliability error: the mean distance of the checks from a perfect evaluator's success."""
        return sum(abs(1 - self.checks[name].accuracy - gold) for name, gold in CHECKS.items()) / len(CHECKS)


@dataclass(frozen=True)
class Halves:
    """Numbers of the lines that an evaluator learns from, and of those that it judges."""

    training: Sequence[int]
    testing: Sequence[int]


def evaluate(
    histories: Sequence[Sequence[str]],
    references: Sequence[str],
    systems: Mapping[str, Sequence[str]],
    settings: EvaluatorSettings,
    device: torch.device,
    progress: Progress,
    tell: Callable[[str, Verdict], None],
) -> Dict[str, Verdict]:
    """Judge each system by evaluators that were trained on half of the lines, fresh for every question.

    Args:
        histories: utterances of each line.
        references: human replies.
        systems: name -> replies.
        settings: of the evaluators.
        device: where they run.
        progress: shows a bar.
        tell: called with each system's verdict as soon as it is there.

    Raises:
        AMIError: too few lines.
    """
    if len(histories) < LEAST:
        raise AMIError(
            f"{len(histories)} histories are too few: half is learnt from, half is judged. Give at least {LEAST}"
        )
    turns = [tuple(history) for history in histories]
    halves = split_in_half(len(turns), settings.seed)
    random_replies = drawn_replies(references, halves, settings.seed)
    shared: Dict[Tuple[str, str], Judged] = {}
    found = {}

    for name, replies in systems.items():
        texts = {HUMAN: references, MACHINE: replies, RANDOM: random_replies}

        def judged(first: str, second: str, texts: Mapping[str, Sequence[str]] = texts, name: str = name) -> Judged:
            title = f"{name if MACHINE in (first, second) else HUMAN}: {first} against {second}"
            training, testing = (
                examples(turns, texts[first], texts[second], lines, settings.seed, first == second)
                for lines in (halves.training, halves.testing)
            )
            return train_and_judge(training, testing, settings, device, progress, title)

        for pair in CHECKS:
            if MACHINE not in pair and pair not in shared:
                shared[pair] = judged(*pair)
        own = {pair: judged(*pair) for pair in CHECKS if MACHINE in pair}
        found[name] = Verdict(judged(HUMAN, MACHINE), {pair: {**shared, **own}[pair] for pair in CHECKS})
        tell(name, found[name])
    return found


def split_in_half(lines: int, seed: int) -> Halves:
    """Every line in one of two random halves; an odd one is learnt from."""
    order = list(range(lines))
    random.Random(f"halves {seed}").shuffle(order)
    middle = (lines + 1) // 2
    return Halves(sorted(order[:middle]), sorted(order[middle:]))


def drawn_replies(references: Sequence[str], halves: Halves, seed: int) -> List[str]:
    """For each line the human reply of another line of its half, each reply used once."""
    found = [""] * len(references)
    for lines in (halves.training, halves.testing):
        order = list(lines)
        random.Random(f"replies {seed}").shuffle(order)
        for line, other in zip(order, [*order[1:], *order[:1]]):
            found[line] = references[other]
    return found


def examples(
    histories: Sequence[Tuple[str, ...]],
    first: Sequence[str],
    second: Sequence[str],
    lines: Sequence[int],
    seed: int,
    alike: bool,
) -> List[Example]:
    """What an evaluator learns or judges of *lines*.

    Args:
        histories: utterances of all lines.
        first, second: replies of the kind to be called positive, and of the other.
        lines: their numbers.
        seed: of the labels below.
        alike: both kinds are the same text. A line then gives one example, and half of the lines are called positive.
    """
    if not alike:
        return [
            Example(histories[line], replies[line], positive)
            for line in lines
            for replies, positive in ((first, True), (second, False))
        ]
    order = list(lines)
    random.Random(f"labels {seed}").shuffle(order)
    positive = set(order[: len(order) // 2])
    return [Example(histories[line], first[line], line in positive) for line in lines]
