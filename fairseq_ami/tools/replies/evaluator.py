"""Training a fresh discriminator of replies on one set of examples, and its accuracy on another."""

import copy
from dataclasses import dataclass
from typing import Iterator, List, Sequence, Tuple

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens
from torch import Tensor

from fairseq_ami.data.dialogue import SEPARATOR, joined
from fairseq_ami.models.dialog_discriminator import DialogDiscriminator
from fairseq_ami.tools.replies.evaluator_settings import EvaluatorSettings
from fairseq_ami.types import Progress

KEPT_BACK = 10  # one in so many training examples chooses the epoch
CLIP_NORM = 5.0  # of Li et al. (2017)


@dataclass(frozen=True)
class Example:
    """A reply and what the evaluator should say of it.

    Attributes:
        history: utterances, oldest first.
        reply: its words.
        positive: whether it is of the first kind (human, where humans stand against machines).
    """

    history: Tuple[str, ...]
    reply: str
    positive: bool


@dataclass(frozen=True)
class Judged:
    """How many examples were judged rightly, of each kind."""

    right: int
    positive: int
    negative: int
    right_positive: int

    @property
    def accuracy(self) -> float:
        return self.right / (self.positive + self.negative)

    @property
    def standard_error(self) -> float:
        """Of the accuracy, as of a share of independent examples."""
        return (self.accuracy * (1 - self.accuracy) / (self.positive + self.negative)) ** 0.5


def train_and_judge(
    training: Sequence[Example],
    testing: Sequence[Example],
    settings: EvaluatorSettings,
    device: torch.device,
    progress: Progress,
    title: str,
) -> Judged:
    """Train an evaluator on *training*, and let it judge *testing*.

    Its words are those of *training*. Random numbers outside are left as they were.

    Args:
        training: at least two examples.
        testing: at least one.
        settings: of the evaluator.
        device: where it runs.
        progress: shows a bar over the updates.
        title: of the bar.
    """
    dictionary = words_of(training, settings.min_count)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        judge = DialogDiscriminator(dictionary, settings.embed_dim, settings.hidden, settings.dropout).to(device)
        encoded = [_encoded(dictionary, example) for example in training]
        order = torch.randperm(len(training)).tolist()
        kept = max(1, len(training) // KEPT_BACK)
        choosing, learning = ([encoded[at] for at in part] for part in (order[:kept], order[kept:]))
        _train(judge, learning, choosing, settings, progress, title)
    judge.eval()
    right = right_positive = 0
    for batch in _batches(judge, [_encoded(dictionary, example) for example in testing], settings.batch_size):
        correct = _logits(judge, batch).gt(0).eq(batch[2].bool())
        right += int(correct.sum())
        right_positive += int((correct & batch[2].bool()).sum())
    positive = sum(example.positive for example in testing)
    return Judged(right, positive, len(testing) - positive, right_positive)


def words_of(examples: Sequence[Example], min_count: int) -> Dictionary:
    """A dictionary of the words that stand at least *min_count* times in *examples*, and of the separator."""
    dictionary = Dictionary()
    for example in examples:
        for word in (*(word for turn in example.history for word in turn.split()), *example.reply.split()):
            dictionary.add_symbol(word)
    dictionary.finalize(threshold=min_count)
    dictionary.add_symbol(SEPARATOR)
    return dictionary


Encoded = Tuple[Tensor, Tensor, float]  # history, reply, label
Batch = Tuple[Tensor, Tensor, Tensor]  # of several


def _encoded(dictionary: Dictionary, example: Example) -> Encoded:
    history, reply = (
        dictionary.encode_line(text, add_if_not_exist=False).long() for text in (joined(example.history), example.reply)
    )
    return history, reply, float(example.positive)


def _train(
    judge: DialogDiscriminator,
    learning: Sequence[Encoded],
    choosing: Sequence[Encoded],
    settings: EvaluatorSettings,
    progress: Progress,
    title: str,
) -> None:
    """Leave in *judge* the weights of the epoch with the least loss on *choosing*."""
    optimizer = torch.optim.Adam(judge.parameters(), settings.lr)
    best, weights = float("inf"), copy.deepcopy(judge.state_dict())
    starts = [*range(0, len(learning), settings.batch_size)] * settings.epochs
    order: List[int] = []
    for start in progress(starts, title):
        if start == 0:
            order = torch.randperm(len(learning)).tolist()
            judge.train()
        optimizer.zero_grad()
        _loss(judge, _batch(judge, [learning[at] for at in order[start : start + settings.batch_size]])).backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), CLIP_NORM)
        optimizer.step()
        if start + settings.batch_size >= len(learning):  # the end of an epoch
            judge.eval()
            with torch.no_grad():
                parts = _batches(judge, choosing, settings.batch_size)
                loss = sum(float(_loss(judge, batch)) * len(batch[2]) for batch in parts)
            if loss < best:
                best, weights = loss, copy.deepcopy(judge.state_dict())
    judge.load_state_dict(weights)


def _batches(judge: DialogDiscriminator, examples: Sequence[Encoded], size: int) -> Iterator[Batch]:
    for start in range(0, len(examples), size):
        yield _batch(judge, examples[start : start + size])


def _batch(judge: DialogDiscriminator, examples: Sequence[Encoded]) -> Batch:
    histories, replies, labels = zip(*examples)
    device = judge.out.weight.device
    parts = (collate_tokens(histories, judge.pad), collate_tokens(replies, judge.pad), torch.tensor(labels))
    found = [part.to(device) for part in parts]
    return found[0], found[1], found[2]


def _logits(judge: DialogDiscriminator, batch: Batch) -> Tensor:
    return judge.judge(judge.read(batch[0]), batch[1])


def _loss(judge: DialogDiscriminator, batch: Batch) -> Tensor:
    return F.binary_cross_entropy_with_logits(_logits(judge, batch), batch[2])
