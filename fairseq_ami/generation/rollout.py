"""Drawing samples from a pair, and scoring T' with the backward network."""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from fairseq_ami.data import as_source
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.sampler import Samples, previous_outputs, sample
from fairseq_ami.models.pair_latent import repeat_rows
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.modules import dropout_off
from fairseq_ami.objectives import entropies, token_log_probs
from fairseq_ami.random_streams import Stream, stream_keys
from fairseq_ami.types import Batch, EncoderOut, NetInput, Network


@dataclass(frozen=True)
class SamplerSettings:
    """How T' is drawn.

    Attributes:
        policy: the distribution.
        kind: ``ancestral``, or ``teacher-forced`` (the likeliest word after each gold prefix).
        num_samples: samples per source, k.
        max_len_a, max_len_b: longest sample is a * |S| + b symbols, the end symbol included.
        seed: of all random streams.
        pad, eos: symbol ids.
        longest: no sample is longer, end symbol included; None leaves the limits to the pair.
    """

    policy: Policy
    kind: str
    num_samples: int
    max_len_a: float
    max_len_b: int
    seed: int
    pad: int
    eos: int
    longest: Optional[int] = None


@dataclass(frozen=True)
class Rollout:
    """Samples of a batch; rows of one source are neighbours (batch * k rows).

    Attributes:
        samples: T' and which of its symbols the policy chose.
        log_prob: log P(T'|S), shape (batch, k); None unless asked for.
        entropy: of the policy, summed over the chosen symbols, shape (); None unless asked for.
        noise_norm: size of the latent noise, shape (batch, k); None without noise.
        symbol_log_prob: log P of every symbol, 0 where the policy did not choose it, shape (batch * k, length); None
            unless asked for.
    """

    samples: Samples
    log_prob: Optional[Tensor]
    entropy: Optional[Tensor]
    noise_norm: Optional[Tensor]
    symbol_log_prob: Optional[Tensor] = None


def roll_out(
    model: PairedModel,
    batch: Batch,
    settings: SamplerSettings,
    update: int,
    noise: bool,
    score: bool,
    network: Optional[Network] = None,
) -> Rollout:
    """Draw k samples per source from P(.|S, z + delta), dropout off, and score them under the same policy.

    The encoder runs once: its output serves the sampler (no gradient) and the scoring pass. No sample is longer
    than what the pair's other network can read.

    Args:
        model: the pair.
        batch: a fairseq batch of the forward direction.
        settings: how to draw.
        update: number of the update, part of the random seed.
        noise: inject latent noise; the forward network alone has some.
        score: compute ``log_prob`` and ``entropy``; gradients follow torch's current mode.
        network: the one that writes; None stands for the forward network. *batch* is what it reads.
    """
    k, ids = settings.num_samples, batch["id"]
    network, inputs = network or model.forward_model, batch["net_input"]
    norm = None
    with dropout_off(network):
        encoder_out = model.encode(network, inputs["src_tokens"], inputs["src_lengths"])
        encoder_out = repeat_rows(network.encoder, encoder_out, k, len(ids), ids.device)
        if noise:
            keys = stream_keys(settings.seed, update, Stream.NOISE, ids, k)
            encoder_out, norm = model.perturb(encoder_out, keys)
            norm = norm.view(-1, k)
        if settings.kind == "teacher-forced":
            samples, log_probs, scored = _teacher_forced(model, network, encoder_out, batch, settings)
        else:
            samples = _ancestral(model, network, encoder_out, batch, settings, update)
            scored = samples.actions
            log_probs = _log_probs(model, network, encoder_out, samples, settings) if score else None
    if not score:
        return Rollout(samples, None, None, norm)
    per_token = token_log_probs(log_probs, samples.tokens, scored).masked_fill(~samples.actions, 0.0)
    entropy = entropies(log_probs)
    if scored is not samples.actions:
        entropy = entropy[samples.actions[scored]]
    return Rollout(samples, per_token.sum(1).view(-1, k), entropy.sum(), norm, per_token)


def _ancestral(
    model: PairedModel, network: Network, encoder_out: EncoderOut, batch: Batch, settings: SamplerSettings, update: int
) -> Samples:
    return sample(
        network.decoder,
        encoder_out,
        network.encoder.reorder_encoder_out,
        settings.policy,
        stream_keys(settings.seed, update, Stream.TOKENS, batch["id"], settings.num_samples),
        length_limits(model, network, batch, settings).repeat_interleave(settings.num_samples),
        settings.pad,
        settings.eos,
    )


def length_limits(model: PairedModel, network: Network, batch: Batch, settings: SamplerSettings) -> Tensor:
    """Symbols of the longest sample of each source, shape (batch,).

    It is that of its own source: it must not move with the batch.
    """
    limits = (settings.max_len_a * batch["net_input"]["src_lengths"] + settings.max_len_b).long()
    return limits.clamp(1, _longest(model, network, settings))


def _longest(model: PairedModel, network: Network, settings: SamplerSettings) -> int:
    """Symbols of the longest sample: *network* must be able to write it, the other one, if any, to read it."""
    reader = model.backward_model if network is model.forward_model else model.forward_model
    limits = [network.decoder.max_positions() - 1]
    if reader is not None:
        limits.append(reader.encoder.max_positions())
    if settings.longest is not None:
        limits.append(settings.longest)
    return max(1, int(min(limits)))


def _log_probs(
    model: PairedModel, network: Network, encoder_out: EncoderOut, samples: Samples, settings: SamplerSettings
) -> Tensor:
    """Of every symbol where the policy chose one, shape (choices, vocabulary)."""
    previous = previous_outputs(samples.tokens, settings.pad, settings.eos)
    logits = model.logits_where(network, previous, encoder_out, samples.actions)
    return settings.policy.log_probs(logits, samples.tokens[samples.actions])


def _teacher_forced(
    model: PairedModel, network: Network, encoder_out: EncoderOut, batch: Batch, settings: SamplerSettings
) -> Tuple[Samples, Tensor, Tensor]:
    """The likeliest word after each prefix of the real T. Biased: T' follows T and its length.

    Returns:
        samples, and the log-probabilities of every symbol where the third one is True.
    """
    k, pad, eos = settings.num_samples, settings.pad, settings.eos
    target = batch["target"].repeat_interleave(k, 0)
    previous = batch["net_input"]["prev_output_tokens"].repeat_interleave(k, 0)
    inside = target.ne(pad)
    log_probs = settings.policy.log_probs(model.logits_where(network, previous, encoder_out, inside))
    tokens = target.masked_scatter(inside, log_probs.detach().argmax(-1))
    after_end = tokens.eq(eos).int().cumsum(1) - tokens.eq(eos).int() > 0
    actions = inside & ~after_end
    tokens = tokens.masked_fill(~actions, pad)
    # a sentence that never ended gets its end symbol where the real one ends
    last = inside.sum(1, keepdim=True) - 1
    endless = ~tokens.eq(eos).any(1, keepdim=True)
    tokens = torch.where(endless, tokens.scatter(1, last, eos), tokens)
    actions = torch.where(endless, actions.scatter(1, last, False), actions)
    return Samples(tokens, actions), log_probs, inside


@torch.no_grad()
def score_samples(model: PairedModel, batch: Batch, samples: Samples, settings: SamplerSettings) -> Tensor:
    """log P(T'|S) of samples under the forward network as it is, without latent noise and dropout.

    Returns:
        Shape (batch, k), with the same policy as when they were drawn.
    """
    network, inputs, rows = model.forward_model, batch["net_input"], len(batch["id"])
    k = samples.tokens.size(0) // rows
    with dropout_off(network):
        encoder_out = model.encode(network, inputs["src_tokens"], inputs["src_lengths"])
        encoder_out = repeat_rows(network.encoder, encoder_out, k, rows, samples.tokens.device)
        log_probs = _log_probs(model, network, encoder_out, samples, settings)
    return token_log_probs(log_probs, samples.tokens, samples.actions).sum(1).view(-1, k)


def sample_sums(rollout: Rollout, batch: Batch, settings: SamplerSettings) -> Dict[str, Any]:
    """Sums that describe the samples of a batch, for the logs; ratios are taken in ``report``. Where there are no
    references, there is no ratio of lengths."""
    tokens, actions = rollout.samples.tokens, rollout.samples.actions
    rows = tokens.size(0)
    sums = {
        "sample_tokens": _count(tokens.ne(settings.pad)),
        "sample_rows": rows,
        "sample_cut": rows - _count(actions & tokens.eq(settings.eos)),
    }
    if batch["target"] is not None:
        sums["sample_reference_tokens"] = batch["ntokens"] * (rows // len(batch["id"]))
    if rollout.entropy is not None:
        sums.update(entropy_sum=rollout.entropy, entropy_count=_count(actions))
    if rollout.noise_norm is not None:
        sums["noise_norm_sum"] = rollout.noise_norm.detach().sum()
    return sums


def _count(mask: Tensor) -> Tensor:
    """float64, as the workers' sums are; left where it is, since reading it would make the host wait."""
    return mask.sum(dtype=torch.float64)


def backward_log_likelihood(model: PairedModel, tokens: Tensor, reverse: Batch, pad: int) -> Tensor:
    """log Q(s_i | s_<i, T') of each token of the sources.

    Args:
        model: the pair.
        tokens: T', shape (batch * k, length).
        reverse: the reversed batch, whose target is S, shape (batch, source length). Its ``context``, if any, is
            read before T', and ``source_limit`` bounds both together.

    Returns:
        float32, shape (batch * k, source length), 0 at padding.
    """
    k = tokens.size(0) // reverse["target"].size(0)
    context = reverse.get("context")
    if context is not None:
        context = context.repeat_interleave(k, 0)
    src_tokens, src_lengths = as_source(tokens, pad, context, reverse.get("source_limit"))
    inputs: NetInput = {
        "src_tokens": src_tokens,
        "src_lengths": src_lengths,
        "prev_output_tokens": reverse["net_input"]["prev_output_tokens"].repeat_interleave(k, 0),
    }
    return model.log_likelihood(model.backward_model, inputs, reverse["target"].repeat_interleave(k, 0))
