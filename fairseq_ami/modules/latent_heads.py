"""Networks that tell the distribution of a latent variable: its prior given a context, its posterior given more."""

from typing import Any, Protocol, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq_ami.modules.dirichlet import Dirichlet
from fairseq_ami.modules.gaussian import DiagonalGaussian

LEAST_VARIANCE = 1e-6
LEAST_CONCENTRATION = 1e-3
PRIORS = ("gaussian", "dirichlet")


class LatentDistribution(Protocol):
    """What :class:`DiagonalGaussian` and :class:`Dirichlet` have in common; a batch of distributions of z."""

    @property
    def mean(self) -> Tensor: ...

    def draw(self, keys: Tensor) -> Tensor: ...

    def value(self, drawn: Tensor) -> Tensor: ...

    def kl(self, prior: Any = None) -> Tensor: ...

    def log_prob(self, drawn: Tensor) -> Tensor: ...


class LatentHead(nn.Module):
    """Two tanh layers and a linear one -> a distribution of z (Park et al. 2018; Zeng et al. 2019).

    A Gaussian's variance and a Dirichlet's concentration are softplus of what the linear layer says.

    Args:
        inputs: size of what it reads.
        hidden: units of the two layers.
        latent: size of z.
        kind: one of :data:`PRIORS`.
    """

    def __init__(self, inputs: int, hidden: int, latent: int, kind: str):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.kind = kind
        self.output = nn.Linear(hidden, latent if kind == "dirichlet" else 2 * latent)

    def forward(self, inputs: Tensor) -> Union[DiagonalGaussian, Dirichlet]:
        """Shape (batch, inputs) -> a distribution for each row."""
        found = self.output(self.body(inputs))
        found = found.to(torch.promote_types(found.dtype, torch.float32))
        if self.kind == "dirichlet":
            return Dirichlet(F.softplus(found) + LEAST_CONCENTRATION)
        mean, raw = found.chunk(2, dim=1)
        return DiagonalGaussian(mean, (F.softplus(raw) + LEAST_VARIANCE).log())
