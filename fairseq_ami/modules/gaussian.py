"""Diagonal Gaussian posteriors q(z|x)."""

import math
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag(exp(log_variance))), in float32 at least.

    Attributes:
        mean: shape (batch, latent).
        log_variance: shape (batch, latent).
    """

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        if self.mean.dtype in (torch.float16, torch.bfloat16):  # exp overflows in half precision
            object.__setattr__(self, "mean", self.mean.float())
            object.__setattr__(self, "log_variance", self.log_variance.float())

    def sample(self, noise: Optional[Tensor] = None) -> Tensor:
        """mean + noise * standard deviation; *noise* is standard normal, drawn if not given."""
        if noise is None:
            noise = torch.randn_like(self.mean)
        return self.mean + noise * (0.5 * self.log_variance).exp()

    def kl_by_dimension(self) -> Tensor:
        """KL to the standard normal prior, in nats, shape (batch, latent)."""
        return 0.5 * (self.mean.pow(2) + self.log_variance.exp() - self.log_variance - 1.0)

    def kl(self) -> Tensor:
        """KL to the standard normal prior, in nats, shape (batch,)."""
        return self.kl_by_dimension().sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats; *z* has the shape of the mean or broadcasts with it; the last dimension is summed."""
        squares = (z - self.mean).pow(2) * (-self.log_variance).exp()
        return -0.5 * (squares + self.log_variance + math.log(2.0 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, shape (batch,)."""
        return 0.5 * (self.log_variance + math.log(2.0 * math.pi) + 1.0).sum(1)
