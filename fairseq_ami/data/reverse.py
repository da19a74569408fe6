"""The same sentences read in the other direction, for the backward network."""

from typing import Optional, Tuple

import torch
from fairseq.utils import convert_padding_direction
from torch import Tensor

from fairseq_ami.types import Batch


def as_source(
    tokens: Tensor, pad: int, context: Optional[Tensor] = None, limit: Optional[int] = None
) -> Tuple[Tensor, Tensor]:
    """Sentences with their end symbol -> left-padded source and its lengths.

    Args:
        tokens: shape (batch, length), padded on the right.
        pad: the padding symbol.
        context: what the network reads before each sentence, shape (batch, context length), padded anywhere.
        limit: longer sources lose their first symbols.

    Returns:
        Tokens, shape (batch, longest), and their lengths, shape (batch,). No column is padding alone (fairseq's
        LSTM takes none).
    """
    whole = tokens if context is None else torch.cat([context, tokens], dim=1)
    words = whole.ne(pad)
    lengths = words.sum(1)
    longest = int(lengths.max())
    if limit is not None and longest > limit:
        longest, lengths = limit, lengths.clamp(max=limit)
    # a stable sort moves padding to the left and keeps the words in their order
    order = words.long().argsort(dim=1, stable=True)[:, whole.size(1) - longest :]
    return whole.gather(1, order), lengths


def empty_sentences(batch: Batch, eos: int) -> Tensor:
    """A sentence without words for each row, shape (batch, 1)."""
    return torch.full_like(batch["id"], eos).unsqueeze(1)


def reverse_sample(sample: Batch, pad: int, eos: int) -> Batch:
    """What the backward network reads and writes, rows in the same order: the batch's own ``reverse`` view
    (:mod:`.dialogue`), or for a ``LanguagePairDataset`` its source and target exchanged.

    Swapping the two tensors would leave left padding where the decoder reads (and fully masked
    attention rows); re-collating would sort the rows by length and separate them from their rewards.

    Without references (a target that is None) the backward network has something to write, and to read an end symbol
    alone: T' takes its place.
    """
    if "reverse" in sample:
        return sample["reverse"]
    source = convert_padding_direction(sample["net_input"]["src_tokens"], pad, left_to_right=True)
    target = sample["target"]
    src_tokens, src_lengths = as_source(empty_sentences(sample, eos) if target is None else target, pad)
    previous = torch.full_like(source, pad)
    previous[:, 0] = eos
    previous[:, 1:] = source[:, :-1].masked_fill(source[:, 1:].eq(pad), pad)
    return {
        "id": sample["id"],
        "nsentences": sample["nsentences"],
        "ntokens": int(source.ne(pad).sum()),
        "net_input": {"src_tokens": src_tokens, "src_lengths": src_lengths, "prev_output_tokens": previous},
        "target": source,
    }
