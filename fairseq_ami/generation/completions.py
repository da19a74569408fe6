"""Monte Carlo completions of the prefixes of sampled replies (Li et al. 2017, section 3.2; Yu et al. 2017)."""

from dataclasses import dataclass
from typing import Iterator

import torch
from torch import Tensor

from fairseq_ami.generation.rollout import SamplerSettings, length_limits
from fairseq_ami.generation.sampler import Prefixes, Samples, sample
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
    A reply is read once, however many of its prefixes are completed.

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
        for some in _chunks(row):
            source = row[some] // k
            prefixes = _prefixes(samples.tokens, row[some], kept[some], settings.pad)
            found = sample(
                network.decoder,
                network.encoder.reorder_encoder_out(encoder_out, source[prefixes.leader.unique()]),
                network.encoder.reorder_encoder_out,
                settings.policy,
                keys[some],
                limits[source],
                settings.pad,
                settings.eos,
                prefixes,
            )
            yield Completions(row[some], kept[some], found.tokens)


def _chunks(row: Tensor) -> Iterator[Tensor]:
    """Indices of about ROWS completions at a time; those of one sampled reply stay together."""
    size = row.bincount()
    chunk = (size.cumsum(0) - 1).div(ROWS, rounding_mode="floor")[row]
    for number in chunk.unique():
        yield chunk.eq(number).nonzero().squeeze(1)


def _prefixes(tokens: Tensor, row: Tensor, kept: Tensor, pad: int) -> Prefixes:
    """The first *kept* symbols of the replies *row*; one of the longest prefixes of a reply reads for the others."""
    behind = torch.arange(tokens.size(1), device=row.device) >= kept.unsqueeze(1)
    last = row.bincount().cumsum(0) - 1  # prefixes of a reply are neighbours, in the order of their lengths
    return Prefixes(tokens[row].masked_fill(behind, pad), last[row])
