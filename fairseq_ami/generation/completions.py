"""Monte Carlo completions of the prefixes of sampled replies (Li et al. 2017, section 3.2; Yu et al. 2017)."""

from dataclasses import dataclass
from typing import Iterator

import torch
from torch import Tensor

from fairseq_ami.generation.rollout import SamplerSettings, length_limits
from fairseq_ami.generation.sampler import Samples, sample
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.modules import dropout_off
from fairseq_ami.random_streams import Stream, derived_keys, stream_keys
from fairseq_ami.types import Batch

ROWS = 1024  # completions that are drawn at a time: each holds what a decoder keeps of its source


@dataclass(frozen=True)
class Completions:
    """Some completions.

    Attributes:
        sample: which of the sampled replies each one continues, shape (rows,).
        kept: how many of its symbols stand at the start, at least 1, shape (rows,).
        tokens: whole replies, padded on the right, shape (rows, length).
    """

    sample: Tensor
    kept: Tensor
    tokens: Tensor


@torch.no_grad()
def complete(
    model: PairedModel, batch: Batch, samples: Samples, settings: SamplerSettings, count: int, update: int
) -> Iterator[Completions]:
    """Draw *count* completions of each prefix that leaves the policy something to choose, some at a time.

    A prefix ends with a symbol that the policy chose. The one that ends with its last choice is left out: what follows
    it, if anything, is the forced end of the reply.

    The numbers behind a completion depend on the sentence, the sample, the prefix's length and the completion.
    So they are the same in any batch and in any chunk.

    Args:
        model: whose forward network writes, with dropout off.
        batch: the sources.
        samples: k of each source, neighbours together, shape (batch * k, length).
        settings: how they were drawn.
        count: completions of each prefix.
        update: number of the update.
    """
    k, network, inputs = settings.num_samples, model.forward_model, batch["net_input"]
    choices = samples.actions.sum(1)
    row, kept = (samples.actions.cumsum(1) < choices.unsqueeze(1)).logical_and(samples.actions).nonzero(as_tuple=True)
    if len(row) == 0:
        return
    keys = stream_keys(settings.seed, update, Stream.COMPLETED_WORDS, batch["id"], k)
    keys = derived_keys(keys, count * samples.tokens.size(1)).view(len(keys), -1, count)[row, kept].flatten()
    row, kept = row.repeat_interleave(count), kept.repeat_interleave(count) + 1
    limits = length_limits(model, network, batch, settings)
    with dropout_off(network):
        encoder_out = model.encode(network, inputs["src_tokens"], inputs["src_lengths"])
        for some in torch.arange(len(row), device=row.device).split(ROWS):
            source = row[some] // k
            prefix = samples.tokens[row[some]]
            behind = torch.arange(prefix.size(1), device=row.device) >= kept[some].unsqueeze(1)
            found = sample(
                network.decoder,
                network.encoder.reorder_encoder_out(encoder_out, source),
                network.encoder.reorder_encoder_out,
                settings.policy,
                keys[some],
                limits[source],
                settings.pad,
                settings.eos,
                prefix.masked_fill(behind, settings.pad)[:, : int(kept[some].max())],
            )
            yield Completions(row[some], kept[some], found.tokens)
