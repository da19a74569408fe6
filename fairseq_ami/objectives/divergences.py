"""Regularisers of a VAE's latent space."""

import torch
from torch import Tensor


def maximum_mean_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Squared MMD between the samples *x* (n, d) and *y* (m, d), kernel exp(-||x - y||^2 / d^2).

    The regulariser and the kernel of InfoVAE (Zhao et al. 2019); the V-statistic, never negative.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # not cdist: the gradient of a square root at distance 0 is not a number
        squares = (a.unsqueeze(1) - b.unsqueeze(0)).pow(2).sum(2)
        return torch.exp(-squares / a.size(1) ** 2).mean()

    return kernel(x, x) + kernel(y, y) - 2.0 * kernel(x, y)


FREE_BITS_PER = ("batch", "sentence")


def free_bits_kl(kl_by_dimension: Tensor, free: float, per: str = "batch") -> Tensor:
    """KL that pays nothing below *free* nats per dimension, the batch's mean per sentence.

    Args:
        kl_by_dimension: shape (batch, latent).
        free: nats per dimension.
        per: what the threshold is on. ``batch``: the batch's mean of a dimension (Kingma et al. 2016). ``sentence``:
            each sentence's own (Li et al. 2019, whose gate has the same gradient); sentences are then independent.
    """
    if per == "sentence":
        return kl_by_dimension.clamp(min=free).sum(1).mean()
    return kl_by_dimension.mean(0).clamp(min=free).sum()
