"""Dirichlet distributions over z, for Dir-VHRED (Zeng, Wang and Luo 2019)."""

from dataclasses import dataclass
from typing import Any, Optional, Tuple

import torch
from torch import Tensor
from torch.distributions import Dirichlet as TorchDirichlet
from torch.distributions import kl_divergence

from fairseq_ami.random_streams import derived_keys, normal, uniform

_TRIES = 16  # of the rejection sampler: all of them fail once in 10^20 numbers


class _GammaSample(torch.autograd.Function):
    """A sample of Gamma(shape, 1) whose gradient is the implicit one (Figurnov et al. 2018), torch's own."""

    @staticmethod
    def forward(ctx: Any, shape: Tensor, sample: Tensor) -> Tensor:
        ctx.save_for_backward(shape, sample)
        return sample.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Tensor, None]:
        shape, sample = ctx.saved_tensors
        return grads[0] * torch._standard_gamma_grad(shape, sample), None


@torch.no_grad()
def _marsaglia_tsang(shape: Tensor, keys: Tensor) -> Tensor:
    """Samples of Gamma(shape, 1) for shapes of at least 1 (Marsaglia and Tsang 2000).

    Args:
        shape: (batch, dim).
        keys: one for each row, shape (batch,).
    """
    own = derived_keys(keys, 2)
    x = normal(own[:, 0], _TRIES, shape.size(1)).transpose(1, 2).to(shape.dtype)  # (batch, dim, tries)
    u = uniform(own[:, 1], _TRIES * shape.size(1)).view(len(shape), _TRIES, -1).transpose(1, 2).to(shape.dtype)
    d = (shape - 1.0 / 3.0).unsqueeze(2)
    root = 1.0 + x / (9.0 * d).sqrt()
    v = root.pow(3)
    accepted = (root > 0) & (u.log() < 0.5 * x.square() + d * (1.0 - v + v.clamp(min=1e-30).log()))
    first = accepted.long().argmax(2, keepdim=True)
    return (d * v).gather(2, first).squeeze(2).clamp(min=torch.finfo(shape.dtype).tiny)


@dataclass(frozen=True)
class Dirichlet:
    """Dirichlet(concentration), in float32 at least.

    A sample is kept as its logarithm. Small concentrations put nearly all of the mass on the edges of the simplex,
    where the sample itself would be 0 and its density infinite.

    Attributes:
        concentration: positive, shape (batch, latent).
    """

    concentration: Tensor

    def __post_init__(self) -> None:
        if self.concentration.dtype in (torch.float16, torch.bfloat16):
            object.__setattr__(self, "concentration", self.concentration.float())

    @property
    def mean(self) -> Tensor:
        """Shape (batch, latent)."""
        return self.concentration / self.concentration.sum(1, keepdim=True)

    def draw(self, keys: Tensor) -> Tensor:
        """Logarithm of one sample of each row, by its key, with pathwise gradients; shape (batch, latent).

        Gamma(a) is Gamma(a + 1) times u^(1/a). Its logarithm stays finite for every a, and so does its gradient.
        """
        shape = self.concentration
        own = derived_keys(keys, 3)[:, 2]  # the rejection sampler uses the first two
        boost = uniform(own, shape.size(1)).to(shape.dtype).log() / shape
        gamma = _GammaSample.apply(shape + 1.0, _marsaglia_tsang(shape + 1.0, keys))
        return torch.log_softmax(gamma.log() + boost, dim=1)

    @staticmethod
    def value(drawn: Tensor) -> Tensor:
        """What a network reads of a sample: the point of the simplex."""
        return drawn.exp()

    def kl(self, prior: Optional["Dirichlet"] = None) -> Tensor:
        """KL to *prior*, without one to the uniform distribution, in nats, shape (batch,)."""
        other = torch.ones_like(self.concentration) if prior is None else prior.concentration
        return kl_divergence(self._torch(), TorchDirichlet(other, validate_args=False))

    def log_prob(self, drawn: Tensor) -> Tensor:
        """Log-density on the simplex, in nats, of the points whose logarithms are *drawn*; the last dimension goes."""
        a = self.concentration
        return ((a - 1.0) * drawn).sum(-1) + torch.lgamma(a.sum(-1)) - torch.lgamma(a).sum(-1)

    def _torch(self) -> TorchDirichlet:
        return TorchDirichlet(self.concentration, validate_args=False)
