"""Replies of beam search during training, for a discriminator that is to know them as well."""

from typing import Tuple

import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor, nn

from fairseq_ami.generation.rollout import SamplerSettings
from fairseq_ami.types import Batch, NetInput

BEAM = 5


@torch.no_grad()
def searched(
    model: nn.Module,
    batch: Batch,
    rows: Tensor,
    dictionary: Dictionary,
    banned: Tuple[int, ...],
    sampling: SamplerSettings,
) -> Tensor:
    """The best reply of fairseq's beam search to each of some histories.

    Args:
        model: behaves as an encoder-decoder; its training mode is kept.
        batch: histories.
        rows: which of them, shape (rows,), at least one.
        dictionary: of the replies.
        banned: symbols that are never written.
        sampling: gives the longest reply.

    Returns:
        Padded on the right, shape (rows, length).
    """
    inputs = batch["net_input"]
    some: NetInput = {
        "src_tokens": inputs["src_tokens"][rows],
        "src_lengths": inputs["src_lengths"][rows],
        "prev_output_tokens": inputs["prev_output_tokens"][rows],
    }
    training = model.training
    try:
        search = SequenceGenerator(
            [model], dictionary, beam_size=BEAM, max_len_a=sampling.max_len_a,
            max_len_b=max(1, sampling.max_len_b - 1),  # the end symbol comes on top of it
            tokens_to_suppress=tuple(dictionary[symbol] for symbol in banned),
        )  # fmt: skip
        found = search.generate([model], {"net_input": some})
    finally:
        model.train(training)
    return collate_tokens([hypotheses[0]["tokens"] for hypotheses in found], sampling.pad)
