"""Diagonal Gaussian posteriors q(z|x)."""

import math
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from fairseq_ami.random_streams import normal


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

    def draw(self, keys: Tensor) -> Tensor:
        """One sample of each row, by its key (see :mod:`fairseq_ami.random_streams`), shape (batch, latent)."""
        return self.sample(normal(keys, 1, self.mean.size(1)).squeeze(1).to(self.mean.dtype))

    @staticmethod
    def value(drawn: Tensor) -> Tensor:
        """What a network reads of a sample: the sample itself."""
        return drawn

    def kl_by_dimension(self, prior: Optional["DiagonalGaussian"] = None) -> Tensor:
        """KL to *prior*, without one to the standard normal, in nats, shape (batch, latent)."""
        if prior is None:
            return 0.5 * (self.mean.pow(2) + self.log_variance.exp() - self.log_variance - 1.0)
        gap = self.log_variance - prior.log_variance
        squares = (self.mean - prior.mean).pow(2) * (-prior.log_variance).exp()
        return 0.5 * (squares + gap.exp() - gap - 1.0)

    def kl(self, prior: Optional["DiagonalGaussian"] = None) -> Tensor:
        """KL to *prior*, without one to the standard normal, in nats, shape (batch,)."""
        return self.kl_by_dimension(prior).sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z) in nats; *z* has the shape of the mean or broadcasts with it; the last dimension is summed."""
        squares = (z - self.mean).pow(2) * (-self.log_variance).exp()
        return -0.5 * (squares + self.log_variance + math.log(2.0 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, shape (batch,)."""
        return 0.5 * (self.log_variance + math.log(2.0 * math.pi) + 1.0).sum(1)
