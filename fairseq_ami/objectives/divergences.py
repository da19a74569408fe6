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


def free_bits_kl(kl_by_dimension: Tensor, free: float) -> Tensor:
    """KL that pays nothing below *free* nats a dimension (Kingma et al. 2016), the batch's mean per sentence.

    Args:
        kl_by_dimension: shape (batch, latent).
        free: nats a dimension; the threshold is on the batch's mean.
    """
    return kl_by_dimension.mean(0).clamp(min=free).sum()
