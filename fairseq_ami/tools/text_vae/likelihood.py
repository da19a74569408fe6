"""Likelihood and latent metrics of a text VAE (or an LSTM language model) on a data set."""

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterator, List, Optional, Union

import numpy as np
import torch
from torch import Tensor

from fairseq_ami.data.sentences import SentenceDataset, batches_by_length, check_lengths
from fairseq_ami.metrics.latent import active_units, aggregate, critic_bounds, log_mean_exp, standard_normal_log_prob
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.random_streams import Stream, normal, stream_keys
from fairseq_ami.types import Progress


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        iw_samples: of z for each sentence's importance-weighted likelihood; 0 leaves it out.
        mi_batch: sentences in a batch of mutual information and critic bounds.
        max_tokens: sentences x samples x longest sentence that go through the model at a time.
        seed: of all samples; they do not depend on the other settings.
        iw_bf16: compute the decoder in bfloat16 for the importance weights, and for them only.
    """

    iw_samples: int = 500
    mi_batch: int = 32
    max_tokens: int = 8000
    seed: int = 1
    iw_bf16: bool = False


@dataclass(frozen=True)
class TextVAEMetrics:
    """Nats per sentence; None where a model has no such thing.

    Attributes:
        sentences, tokens: of the data set; the end symbols count as tokens.
        nll: negative ELBO at beta = 1 with one sample of z a sentence; of a language model its exact NLL.
        ppl: exp(total nll / tokens).
        kl: mean KL(q(z|x) || p(z)).
        iw_nll, iw_ppl: by the importance-weighted bound, which is tighter: not to be compared with ``nll``.
        mi_batch: I(x; z) by the aggregated posterior of a batch, mean over batches; at most log of their size.
        mi: I(x; z) by the aggregated posterior of the whole set; at most log of its size.
        mi_batch_entropy, mi_entropy: the same quantities by the noisier estimator of He et al., which takes the closed
            form of E log q(z|x) beside one z per sentence (:class:`fairseq_ami.metrics.latent.Aggregated`).
        marginal_kl: KL(q(z) || p(z)) of the aggregated posterior.
        donsker_varadhan, tangent: bounds on I(x; z) by the model's critic (:class:`fairseq_ami.metrics.latent.Bounds`).
        active_units: dimensions of z whose posterior mean varies over the set.
    """

    sentences: int
    tokens: int
    nll: float
    ppl: float
    kl: Optional[float] = None
    iw_nll: Optional[float] = None
    iw_ppl: Optional[float] = None
    mi_batch: Optional[float] = None
    mi: Optional[float] = None
    mi_batch_entropy: Optional[float] = None
    mi_entropy: Optional[float] = None
    marginal_kl: Optional[float] = None
    donsker_varadhan: Optional[float] = None
    tangent: Optional[float] = None
    active_units: Optional[int] = None

    def as_dict(self) -> Dict[str, Any]:
        """For JSON, which knows no infinity: what is not finite becomes text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Union[int, float, None]) -> Union[int, float, str, None]:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@torch.no_grad()
def measure(
    model: TextVAE, dataset: SentenceDataset, settings: Settings, progress: Progress = lambda items, what: items
) -> TextVAEMetrics:
    """Measure *model* on *dataset*; of each sentence only its posterior and one z are kept.

    Args:
        model: a :class:`fairseq_ami.models.text_vae.TextVAE` in eval mode.
        dataset: a :class:`fairseq_ami.data.sentences.SentenceDataset`.
        progress: called with batches and what is being done, returns the batches; for a progress bar.

    Raises:
        AMIError: a sentence that is longer than the model or ``max_tokens`` allows, or nothing to measure.
    """
    check_lengths(model, dataset, settings.max_tokens)
    tokens = int(dataset.num_tokens_vec(_all(dataset)).sum())
    if model.encoder is None:
        total = sum(
            float(model.log_likelihood(_tokens(model, dataset, batch)).double().sum())
            for batch in progress(batches_by_length(dataset, _all(dataset), settings.max_tokens), "likelihood")
        )
        return TextVAEMetrics(len(dataset), tokens, -total / len(dataset), _perplexity(total, tokens))
    gathered = _first_pass(model, dataset, settings, progress)
    iw = importance_weighted(model, dataset, gathered.posterior, settings, progress) if settings.iw_samples else None
    return TextVAEMetrics(
        sentences=len(dataset),
        tokens=tokens,
        nll=-gathered.elbo / len(dataset),
        ppl=_perplexity(gathered.elbo, tokens),
        kl=float(gathered.posterior.kl().double().mean()),
        iw_nll=None if iw is None else -iw / len(dataset),
        iw_ppl=None if iw is None else _perplexity(iw, tokens),
        active_units=active_units(gathered.posterior.mean),
        **_information(gathered),
    )


def _perplexity(total: float, tokens: int) -> float:
    nats = -total / tokens
    return math.exp(nats) if nats < 700 else math.inf


def _all(dataset: SentenceDataset) -> np.ndarray:
    return np.arange(len(dataset))


def _device(model: TextVAE) -> torch.device:
    return next(model.parameters()).device


def collated(model: TextVAE, dataset: SentenceDataset, batch: np.ndarray) -> Dict[str, Tensor]:
    """``id`` and ``target`` of the sentences with the indices *batch*, on the device of *model*."""
    found = dataset.collater([dataset[int(index)] for index in batch])
    return {name: found[name].to(_device(model)) for name in ("id", "target")}


def _tokens(model: TextVAE, dataset: SentenceDataset, batch: np.ndarray) -> Tensor:
    return collated(model, dataset, batch)["target"]


# ---------------------------------------------------------------------- posteriors


@dataclass
class _Gathered:
    """Of a whole set, in the order of its sentences."""

    posterior: DiagonalGaussian  # (N, latent)
    z: Tensor  # one sample of each, (N, latent)
    elbo: float  # total
    groups: List[np.ndarray]  # indices of sentences, mi_batch each, put together at random
    scores: List[Tensor]  # the critic's, of each group


@torch.no_grad()
def _first_pass(model: TextVAE, dataset: SentenceDataset, settings: Settings, progress: Progress) -> _Gathered:
    """One posterior, one z and one likelihood per sentence."""
    mean = torch.empty(len(dataset), model.latent_dim, device=_device(model))
    log_variance, z = torch.empty_like(mean), torch.empty_like(mean)
    elbo, groups, scores = 0.0, [], []
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(settings.seed))
    for group in progress(order.split(settings.mi_batch), "posteriors"):
        parts, features = batches_by_length(dataset, group.numpy(), settings.max_tokens), []
        for rows in parts:
            batch = collated(model, dataset, rows)
            posterior, seen = model.posterior(batch["target"])
            noise = normal(stream_keys(settings.seed, 0, Stream.EVAL_POSTERIOR, batch["id"], 1), 1, model.latent_dim)
            mean[rows], log_variance[rows] = posterior.mean, posterior.log_variance
            z[rows] = posterior.sample(noise[:, 0])
            elbo += float((model.log_likelihood(batch["target"], z[rows]) - posterior.kl()).double().sum())
            features.append(seen)
        if len(group) == min(settings.mi_batch, len(dataset)):  # a smaller last group would have another log B
            groups.append(np.concatenate(parts))
            if model.critic is not None and len(group) > 1:
                scores.append(model.critic(torch.cat(features), z[groups[-1]]).cpu())
    return _Gathered(DiagonalGaussian(mean, log_variance), z, elbo, groups, scores)


def _information(gathered: _Gathered) -> Dict[str, float]:
    """The metrics of the aggregated posterior and of the critic."""
    posterior, z = gathered.posterior, gathered.z
    whole = aggregate(posterior, z)
    parts = [
        aggregate(DiagonalGaussian(posterior.mean[group], posterior.log_variance[group]), z[group])
        for group in gathered.groups
    ]
    found = {
        "mi_batch": sum(part.paired_information for part in parts) / len(parts),
        "mi": whole.paired_information,
        "mi_batch_entropy": sum(part.information for part in parts) / len(parts),
        "mi_entropy": whole.information,
        "marginal_kl": whole.divergence,
    }
    if gathered.scores:
        bounds = critic_bounds(gathered.scores)
        found.update(donsker_varadhan=bounds.donsker_varadhan, tangent=bounds.tangent)
    return found


# ---------------------------------------------------------------------- importance weights


@torch.no_grad()
def importance_weighted(
    model: TextVAE, dataset: SentenceDataset, posterior: DiagonalGaussian, settings: Settings, progress: Progress
) -> float:
    """Importance-weighted bound on log p(x), summed over the set.

    Args:
        posterior: of all sentences, shape (N, latent).
    """
    if settings.iw_bf16:
        model = copy.deepcopy(model)
        model.use_bfloat16_decoder()
    longest = int(dataset.num_tokens_vec(_all(dataset)).max())
    budget = max(longest, settings.max_tokens // settings.iw_samples)  # few sentences, so that the bar moves
    total = 0.0
    for rows in progress(batches_by_length(dataset, _all(dataset), budget), f"{settings.iw_samples} samples each"):
        batch = collated(model, dataset, rows)
        own = DiagonalGaussian(posterior.mean[rows], posterior.log_variance[rows])
        total += float(log_mean_exp(log_weights(model, batch, own, settings)).sum())
    return total


def log_weights(
    model: TextVAE,
    batch: Dict[str, Tensor],
    posterior: DiagonalGaussian,
    settings: Settings,
    stream: Stream = Stream.EVAL_IMPORTANCE,
    draws: Optional[int] = None,
) -> Iterator[Tensor]:
    """log p(x|z) + log p(z) - log q(z|x) of a batch, shape (batch, some of the samples) each time.

    Args:
        batch: as :func:`collated` makes it.
        posterior: q(z|x) of its sentences.
        stream: of the random numbers.
        draws: of z per sentence; None: ``settings.iw_samples``.
    """
    tokens, count = batch["target"], len(batch["target"])
    draws = settings.iw_samples if draws is None else draws
    keys = stream_keys(settings.seed, 0, stream, batch["id"], draws).view(count, -1)
    for part in keys.split(max(1, settings.max_tokens // tokens.numel()), dim=1):
        samples = part.size(1)
        noise = normal(part.reshape(-1), 1, model.latent_dim)[:, 0]
        repeated = DiagonalGaussian(
            posterior.mean.repeat_interleave(samples, 0), posterior.log_variance.repeat_interleave(samples, 0)
        )
        z = repeated.sample(noise)
        log_joint = model.log_likelihood(tokens.repeat_interleave(samples, 0), z) + standard_normal_log_prob(z)
        yield (log_joint - repeated.log_prob(z)).view(count, samples)
