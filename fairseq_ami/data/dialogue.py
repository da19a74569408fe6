"""Dialogue histories and replies, and what the backward network reads and writes of them.

A history is the last utterances before the reply, oldest first, with ``<sep>`` between them. The backward
network predicts the *last* utterance of the history (AMI section 4.1, after Li et al. 2016b) from all that
stands around it:

    forward    earlier <sep> last          ->  reply
    backward   earlier <sep> reply         ->  last

The reply follows the earlier history, where the last utterance stood. So what is cut from the left when a source
is too long is the oldest of the history in both directions. With a single utterance in the history the
backward network reads the reply alone. For a sampled reply its source is built again from the same context.
"""

import logging
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
from fairseq.data import BaseWrapperDataset, FairseqDataset, LanguagePairDataset
from fairseq.data.data_utils import collate_tokens
from fairseq.tokenizer import tokenize_line
from torch import Tensor

from fairseq_ami.data.reverse import as_source, empty_sentences
from fairseq_ami.types import Batch

logger = logging.getLogger(__name__)

SEPARATOR = "<sep>"
HISTORY, REPLY = "hist", "reply"  # languages of the forward network
CONTEXT, LAST = "context", "last"  # languages of the backward network
DIALOGUE = "dialogue"  # whole dialogues


# ---------------------------------------------------------------------- text


@dataclass(frozen=True)
class Dialogue:
    """A conversation.

    Attributes:
        turns: its utterances; an empty one is a silence.
        replies: which of them are to be learnt as replies (positions, from 0).
        persona: sentences about the one who replies.
    """

    turns: Tuple[str, ...]
    replies: Tuple[int, ...]
    persona: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A reply and the utterances before it, oldest first; either may be empty."""

    history: Tuple[str, ...]
    reply: str


def examples(dialogue: Dialogue, length: int) -> Iterator[Example]:
    """Each reply with its last *length* utterances that are not empty; the persona stands before them.

    Without an utterance the history is empty, persona or not: there would be nothing to reply to.
    """
    for position in dialogue.replies:
        spoken = tuple(turn for turn in dialogue.turns[:position] if turn)[-length:]
        yield Example(dialogue.persona + spoken if spoken else (), dialogue.turns[position])


def joined(utterances: Sequence[str]) -> str:
    """Utterances as one line."""
    return f" {SEPARATOR} ".join(utterances)


# ---------------------------------------------------------------------- batches


def cut_history(tokens: Tensor, separator: int) -> Tuple[Tensor, Tensor]:
    """A history at its last separator: what comes before and that separator itself, and the last utterance.

    Args:
        tokens: shape (length,), without padding; its end symbol stays with the last utterance.
        separator: symbol id.
    """
    places = tokens.eq(separator).nonzero()
    start = int(places[-1]) + 1 if len(places) else 0
    return tokens[:start], tokens[start:]


def reverse_dialogue(batch: Batch, separator: int, pad: int, eos: int, limits: Tuple[int, int]) -> Batch:
    """What the backward network reads and writes of a batch of histories and replies, rows in the same order.

    Args:
        batch: of a ``LanguagePairDataset``.
        separator, pad, eos: symbol ids.
        limits: of the backward network. Longer sources lose their oldest symbols. Of longer last utterances only the
            first symbols are a target: log Q is then the probability that the utterance starts with them.

    Returns:
        A batch of the backward network, with the key ``context`` (shape (batch, longest), left-padded: what is
        read before a reply, real or sampled) and ``source_limit``.
    """
    histories = [row[row.ne(pad)] for row in batch["net_input"]["src_tokens"]]
    contexts, whole = zip(*(cut_history(history, separator) for history in histories))
    last = [utterance[: limits[1]] for utterance in whole]
    context = collate_tokens(contexts, pad, left_pad=True)
    target = batch["target"]
    reply = empty_sentences(batch, eos) if target is None else target
    src_tokens, src_lengths = as_source(reply, pad, context, limits[0])
    return {
        "id": batch["id"],
        "nsentences": batch["nsentences"],
        "ntokens": sum(map(len, last)),
        "net_input": {
            "src_tokens": src_tokens,
            "src_lengths": src_lengths,
            "prev_output_tokens": collate_tokens(last, pad, eos, move_eos_to_beginning=True),
        },
        "target": collate_tokens(last, pad),
        "context": context,
        "source_limit": limits[0],
    }


def truncated(tokens: Tensor, limit: int, separator: int) -> Tensor:
    """The last *limit* symbols of a history, without a separator at their start."""
    if len(tokens) <= limit:
        return tokens
    tokens = tokens[len(tokens) - limit :]
    return tokens[1:] if int(tokens[0]) == separator else tokens


class TruncatedHistories(BaseWrapperDataset):
    """Histories of at most *limit* symbols: the oldest are cut off.

    Attributes:
        sizes: upper bounds of the lengths, shape (histories,).
        cut: how many were too long.
    """

    def __init__(self, histories: FairseqDataset, sizes: np.ndarray, limit: int, separator: int):
        super().__init__(histories)
        self.limit, self.separator = limit, separator
        self._sizes = np.minimum(sizes, limit)
        self.cut = int(np.count_nonzero(np.asarray(sizes) > limit))

    def __getitem__(self, index: int) -> Tensor:
        return truncated(self.dataset[index], self.limit, self.separator)

    def get_original_text(self, index: int) -> str:
        """The words of a history as they are in raw data, without those that were cut off."""
        words = tokenize_line(self.dataset.get_original_text(index))
        kept = len(self[index]) - 1  # the end symbol is no word
        return " ".join(words[len(words) - kept :])

    @property
    def sizes(self) -> np.ndarray:
        return self._sizes


class DialogueDataset(LanguagePairDataset):
    """Pairs of history and reply; a batch brings what the backward network reads and writes as ``reverse``.

    Args:
        pairs: the data as fairseq's translation task loads it.
        separator: symbol id.
        limit: of the forward network's source; longer histories lose their oldest symbols.
        backward_limits: of the backward network's source and target, as for :func:`reverse_dialogue`; None for data of
            the backward network itself, whose batches have no reverse.
    """

    def __init__(
        self, pairs: LanguagePairDataset, separator: int, limit: int, backward_limits: Optional[Tuple[int, int]]
    ):
        histories = TruncatedHistories(pairs.src, pairs.src_sizes, limit, separator)
        super().__init__(
            histories,
            histories.sizes,
            pairs.src_dict,
            pairs.tgt,
            pairs.tgt_sizes,
            pairs.tgt_dict,
            left_pad_source=pairs.left_pad_source,
            left_pad_target=pairs.left_pad_target,
            shuffle=pairs.shuffle,
            eos=pairs.eos,
            pad_to_multiple=pairs.pad_to_multiple,
        )
        self.separator, self.backward_limits = separator, backward_limits
        if histories.cut:
            logger.info(
                "%d of %d histories are longer than %d symbols: their oldest words are cut off",
                histories.cut, len(self), limit,
            )  # fmt: skip
        self.unfinished = self._count_unfinished() if backward_limits is not None else 0
        if self.unfinished:
            logger.warning(
                "%d of %d last utterances are longer than %d symbols: the backward network writes no more than the "
                "start of them (--max-target-positions)",
                self.unfinished, len(self), backward_limits[1],
            )  # fmt: skip

    def _count_unfinished(self) -> int:
        """How many last utterances are longer than the backward network can write."""
        limit = self.backward_limits[1]
        histories = np.flatnonzero(self.src_sizes > limit).tolist()  # no other can have one
        return sum(len(cut_history(self.src[index], self.separator)[1]) > limit for index in histories)

    def collater(self, samples: List[Dict[str, Any]], pad_to_length: Optional[Dict[str, int]] = None) -> Dict[str, Any]:
        """fairseq's batch with its ``reverse``."""
        batch = super().collater(samples, pad_to_length)
        if batch and self.backward_limits is not None:
            pad, eos = self.src_dict.pad(), self.eos
            batch["reverse"] = reverse_dialogue(batch, self.separator, pad, eos, self.backward_limits)
        return batch
