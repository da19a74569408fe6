"""The same sentences read in the other direction, for the backward network."""

from typing import Any, Dict, Tuple

import torch
from fairseq.utils import convert_padding_direction
from torch import Tensor


def as_source(tokens: Tensor, pad: int) -> Tuple[Tensor, Tensor]:
    """Right-padded sentences with their end symbol -> left-padded source and its lengths.

    Args:
        tokens: shape (batch, length).

    Returns:
        Tokens of the same shape, and the lengths, shape (batch,).
    """
    return convert_padding_direction(tokens, pad, right_to_left=True), tokens.ne(pad).sum(1)


def reverse_sample(sample: Dict[str, Any], pad: int, eos: int) -> Dict[str, Any]:
    """A ``LanguagePairDataset`` batch with source and target exchanged, rows in the same order.

    Swapping the two tensors would leave left padding where the decoder reads (and fully masked
    attention rows); re-collating would sort the rows by length and separate them from their rewards.

    Raises:
        KeyError: the batch has no target.
    """
    source = convert_padding_direction(sample["net_input"]["src_tokens"], pad, left_to_right=True)
    src_tokens, src_lengths = as_source(sample["target"], pad)
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
