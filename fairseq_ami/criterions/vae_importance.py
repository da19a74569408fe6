"""The importance-weighted bound of a text VAE in training and validation (``--iw-train``)."""

from dataclasses import dataclass
from typing import Optional

from torch import Tensor

from fairseq_ami.metrics.latent import standard_normal_log_prob
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.objectives.importance import (
    double_reparametrisation,
    importance_weighted_bound,
    with_scaled_gradient,
)


@dataclass(frozen=True)
class ImportanceWeighted:
    """Of a batch.

    Attributes:
        objective: log (1/K) sum_k of p(x|z_k) (p(z_k) / q(z_k|x))^beta, with gradient, shape (batch,).
        log_likelihood: mean over the samples of log p(x|z_k), shape (batch,).
        bound: the same as *objective* at beta = 1, where it is a bound on log p(x); without gradient, shape (batch,).
    """

    objective: Tensor
    log_likelihood: Tensor
    bound: Tensor


def importance_weighted(
    model: TextVAE,
    tokens: Tensor,
    posterior: DiagonalGaussian,
    noise: Tensor,
    hide: Optional[Tensor] = None,
    kl_weight: float = 1.0,
    gradient: str = "iwae",
) -> ImportanceWeighted:
    """Burda et al. 2016, with the KL term's weight beta on the logarithm of p(z) / q(z|x).

    Args:
        model: whose decoder is asked.
        tokens: shape (batch, length).
        posterior: of the batch.
        noise: standard normal, shape (batch, K, latent).
        hide: words that the decoder does not see, the same for all samples of a sentence, shape (batch, length).
        kl_weight: beta.
        gradient: ``iwae``, or ``dreg`` (:func:`fairseq_ami.objectives.importance.double_reparametrisation`).
    """
    count, samples = noise.shape[:2]
    doubly = gradient == "dreg"
    wide = DiagonalGaussian(posterior.mean.unsqueeze(1), posterior.log_variance.unsqueeze(1))
    z = wide.sample(noise)
    density = wide
    if doubly:
        z = with_scaled_gradient(z, lambda: double_reparametrisation(log_weights, kl_weight).unsqueeze(2))
        density = DiagonalGaussian(wide.mean.detach(), wide.log_variance.detach())
    rows = tokens.repeat_interleave(samples, 0)
    hidden = None if hide is None else hide.repeat_interleave(samples, 0)
    log_likelihood = model.log_likelihood(rows, z.flatten(0, 1), hidden).view(count, samples)
    ratio = standard_normal_log_prob(z) - density.log_prob(z)
    log_weights = log_likelihood + kl_weight * ratio
    return ImportanceWeighted(
        objective=importance_weighted_bound(log_weights),
        log_likelihood=log_likelihood.mean(1),
        bound=importance_weighted_bound((log_likelihood + ratio).detach()),
    )
