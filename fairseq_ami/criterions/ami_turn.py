"""One turn of the game: a batch in one phase, with what the terms need to know and what they leave for the logs."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.models.paired import PairedModel
from fairseq_ami.types import Batch, Log, Weights


@dataclass(frozen=True)
class Step:
    """What the criterion is told about the update.

    Attributes:
        phase: ``pretrain``, ``noise``, ``forward`` or ``backward``.
        update: number of the update.
        reward_mean: running mean of this phase's rewards, None before the first.
        reward_std: their running standard deviation, None before the first.
        advantage_std: running standard deviation of what the baseline leaves of them, None before the first.
        length_slope: reward per symbol of a sample, of a running regression; None before the first.
        anchor: weights of the forward network at the start of the game; None without an anchor.
        unlabelled: the same of sentences without references; None where there are none.
        shown: receives a few sources with their samples and rewards; None where nobody looks.
    """

    phase: str
    update: int
    reward_mean: Optional[float] = None
    reward_std: Optional[float] = None
    advantage_std: Optional[float] = None
    length_slope: Optional[float] = None
    anchor: Optional[Weights] = None
    unlabelled: Optional["Step"] = None
    shown: Optional[List[Dict[str, Any]]] = None


@dataclass(frozen=True)
class Turn:
    """A batch in one phase.

    Attributes:
        model: the pair.
        batch: of the forward direction.
        reverse: the same sentences as the backward network reads and writes them, rows in the same order.
        step: the phase and its statistics.
        log: receives the sums that are logged.
    """

    model: PairedModel
    batch: Batch
    reverse: Batch
    step: Step
    log: Log = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of sentences."""
        return len(self.batch["id"])


def word_counts(dictionary: Dictionary, skip: Sequence[int]) -> Tensor:
    """How often each symbol stands in the text, shape (vocabulary,); all alike where the dictionary does not say."""
    counts = torch.tensor(dictionary.count, dtype=torch.float32)
    counts[list(skip)] = 0.0
    told = counts[dictionary.nspecial :].sum() > 0
    return counts if told else torch.ones(len(dictionary)).index_fill(0, torch.tensor(skip), 0.0)
