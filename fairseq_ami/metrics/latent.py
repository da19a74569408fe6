"""What a latent variable z says about x: functions of posteriors, samples, log-weights and scores. In nats."""

import math
from dataclasses import dataclass
from typing import Iterable, Optional, Sequence

import torch
from torch import Tensor

from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.objectives.mutual_information import donsker_varadhan, log_mean_exp_negatives

ACTIVE_VARIANCE = 0.01
_MATRIX_CELLS = 2**22  # of the z-by-posterior matrix that are held at a time: 32 MB


def aggregated_log_prob(posterior: DiagonalGaussian, z: Tensor) -> Tensor:
    """log q(z) under the aggregated posterior q(z) = (1/N) sum_j q(z|x_j), in float64.

    Args:
        posterior: of N sentences, shape (N, latent).
        z: shape (M, latent).

    Returns:
        shape (M,).
    """
    mean, log_variance = posterior.mean.double(), posterior.log_variance.double()
    centre = mean.mean(0)  # nothing depends on where zero is, but the expanded square is exacter near it
    mean, z = mean - centre, z.double() - centre
    precision = (-log_variance).exp()
    constant = -0.5 * (mean.square() * precision + log_variance + math.log(2.0 * math.pi)).sum(1)
    found = []
    for rows in z.split(max(1, _MATRIX_CELLS // len(mean))):
        log_probs = rows @ (mean * precision).T - 0.5 * rows.square() @ precision.T + constant
        found.append(log_probs.logsumexp(1))
    return torch.cat(found) - math.log(len(mean))


@dataclass(frozen=True)
class Aggregated:
    """Of a set of sentences, by its own aggregated posterior.

    Attributes:
        information: I(x; z) by the estimator of He et al. (2019): mean of the posteriors' negative entropies minus
            mean of log q(z), one z per sentence. At most log N in expectation.
        paired_information: the same quantity with log q(z|x) at that z in place of the entropy: much less noise,
            exactly 0 if all posteriors are equal, never above log N.
        divergence: KL(q(z) || p(z)) to the standard normal prior (VAE-MINE equation 19). The mean of
            KL(q(z|x) || p(z)) is the sum of information and divergence, except for the noise of the samples.
    """

    information: float
    paired_information: float
    divergence: float


@torch.no_grad()
def aggregate(posterior: DiagonalGaussian, z: Tensor) -> Aggregated:
    """Information and divergence of N sentences.

    Args:
        posterior: shape (N, latent).
        z: one sample of each posterior, shape (N, latent).
    """
    log_q = aggregated_log_prob(posterior, z)
    exact = DiagonalGaussian(posterior.mean.double(), posterior.log_variance.double())
    return Aggregated(
        information=float(-exact.entropy().mean() - log_q.mean()),
        paired_information=float((exact.log_prob(z.double()) - log_q).mean()),
        divergence=float((log_q - standard_normal_log_prob(z.double())).mean()),
    )


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log p(z) of the prior; the last dimension is summed."""
    return -0.5 * (z.square() + math.log(2.0 * math.pi)).sum(-1)


def active_units(means: Tensor, threshold: float = ACTIVE_VARIANCE) -> int:
    """Dimensions of z whose posterior mean varies over the data (Burda et al. 2016; VAE-MINE equation 20).

    Args:
        means: posterior means of N sentences, shape (N, latent).
        threshold: the least unbiased variance of an active unit. A single sentence varies in nothing.
    """
    if len(means) < 2:
        return 0
    return int((means.double().var(0) >= threshold).sum())


def log_mean_exp(chunks: Iterable[Tensor]) -> Tensor:
    """log of the mean of exp(log-weight) over the samples of each row: with log-weights log p(x, z) - log q(z|x), the
    importance-weighted bound on log p(x) (Burda et al. 2016).

    Args:
        chunks: log-weights of shape (batch, any number of samples); only one chunk is held at a time.

    Returns:
        float64, shape (batch,).

    Raises:
        ValueError: no samples.
    """
    total: Optional[Tensor] = None
    count = 0
    for chunk in chunks:
        count += chunk.size(1)
        part = chunk.double().logsumexp(1)
        total = part if total is None else torch.logaddexp(total, part)
    if total is None or count == 0:
        raise ValueError("there are no samples to average")
    return total - math.log(count)


@dataclass(frozen=True)
class Bounds:
    """Estimates of lower bounds on I(x; z) from a critic.

    Attributes:
        donsker_varadhan: E_joint f - log E_marginal e^f, mean over the batches; the logarithm of each batch's own mean
            makes it too high on average.
        tangent: E_joint f - xi E_marginal e^f + log xi + 1 (VAE-MINE equation 12) at the xi that is best for the whole
            set, 1 / E_marginal e^f: Donsker-Varadhan with the expectations taken over the set.
    """

    donsker_varadhan: float
    tangent: float


def critic_bounds(batches: Sequence[Tensor]) -> Bounds:
    """Bounds on the mutual information over a set.

    Args:
        batches: scores[i, j] = f(x_i, z_j) of each batch, all of one size; pairs of different rows are independent.

    Raises:
        ValueError: no batch, or batches of one row.
    """
    if not batches:
        raise ValueError("there are no scores to bound anything with")
    each = torch.stack([donsker_varadhan(scores.double()) for scores in batches])
    log_marginal = torch.stack([log_mean_exp_negatives(scores.double()) for scores in batches])
    joint = each + log_marginal
    whole = log_marginal.logsumexp(0) - math.log(len(batches))
    return Bounds(float(each.mean()), float(joint.mean() - whole))
