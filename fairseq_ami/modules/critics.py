"""Critics f(x, z), the energy functions of mutual information: ``scores[i, j] = f(x_i, z_j)``."""

from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from fairseq_ami.errors import AMIError


def mlp(in_dim: int, hidden: int, layers: int, out_dim: int) -> nn.Sequential:
    """*layers* hidden layers of *hidden* ReLU units, then a linear output."""
    sizes = [in_dim] + [hidden] * layers
    parts = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts, nn.Linear(sizes[-1], out_dim))


class SeparableCritic(nn.Module):
    """f(x, z) = g(x) . h(z), two networks with *hidden* outputs each: n + m passes for n * m scores."""

    def __init__(self, x_dim: int, z_dim: int, hidden: int = 512, layers: int = 2):
        super().__init__()
        self.x_net = mlp(x_dim, hidden, layers, hidden)
        self.z_net = mlp(z_dim, hidden, layers, hidden)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Scores of all pairs of x, shape (n, x_dim), and z, shape (m, z_dim): shape (n, m)."""
        return self.x_net(x) @ self.z_net(z).t()


class BilinearCritic(nn.Module):
    """f(x, z) = x' W z (van den Oord et al., 2018)."""

    def __init__(self, x_dim: int, z_dim: int):
        super().__init__()
        self.map = nn.Linear(x_dim, z_dim, bias=False)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Scores of all pairs of x, shape (n, x_dim), and z, shape (m, z_dim): shape (n, m)."""
        return self.map(x) @ z.t()


class ConcatCritic(nn.Module):
    """f(x, z) = MLP([x; z]); by default the energy function of VAE-MINE (section 5.2), two layers of 512 ReLU units."""

    def __init__(self, x_dim: int, z_dim: int, hidden: int = 512, layers: int = 2):
        super().__init__()
        self.net = mlp(x_dim + z_dim, hidden, layers, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Scores of all pairs of x, shape (n, x_dim), and z, shape (m, z_dim): shape (n, m).

        The first layer is linear in [x; z], so it is applied to x and z apart and added; memory (n, m, hidden).
        """
        first: Any = self.net[0]
        x_weight, z_weight = first.weight.split([x.size(-1), z.size(-1)], 1)
        hidden = F.linear(x, x_weight, first.bias).unsqueeze(1) + F.linear(z, z_weight)
        return self.net[1:](hidden).squeeze(-1)


CRITICS = {"separable": SeparableCritic, "bilinear": BilinearCritic, "concat": ConcatCritic}


def build_critic(name: str, x_dim: int, z_dim: int, hidden: int = 512, layers: int = 2) -> nn.Module:
    """A critic by its name in CRITICS; the bilinear one has no hidden layers.

    Raises:
        AMIError: unknown *name*, or no unit or layer at all.
    """
    if name not in CRITICS:
        raise AMIError(f"there is no critic {name!r}: choose one of {', '.join(CRITICS)}")
    if hidden < 1 or layers < 1:
        raise AMIError(f"a critic needs at least one hidden layer of one unit, not {layers} of {hidden}")
    if name == "bilinear":
        return BilinearCritic(x_dim, z_dim)
    return CRITICS[name](x_dim, z_dim, hidden, layers)
