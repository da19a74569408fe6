"""The latent noise network of AMI (section 3.2, equations 14 to 19)."""

from typing import Optional, Tuple

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


def root_mean_square(delta: Tensor, padding_mask: Optional[Tensor] = None) -> Tensor:
    """Size of the noise of each sentence: ``||delta||`` of equation 15.

    Args:
        delta: noise, shape (positions, batch, channels).
        padding_mask: True at padding, shape (batch, positions).

    Returns:
        Root mean square over unpadded positions and channels, float32, shape (batch,).
    """
    square = delta.float().pow(2).mean(-1).t()  # (batch, positions)
    if padding_mask is None:
        mean = square.mean(1)
    else:
        mean = square.masked_fill(padding_mask, 0.0).sum(1) / (~padding_mask).sum(1).clamp(min=1)
    # the square root has no derivative at zero
    return (mean + 1e-12).sqrt()


class LatentNoise(nn.Module):
    """Draws ``delta = scale * (mu(z) + eps * softplus(mu(z)))`` with ``mu(z) = W2 relu(W1 z + b1)``.

    The paper ties the standard deviation to the mean (equation 18), so the noise can never be
    smaller than 0.63 per channel. ``scale`` is ours and makes it as small as one likes.

    Args:
        dim: channels of the latent representation.
        hidden_dim: width of the hidden layer.
        scale: factor on the noise.
    """

    def __init__(self, dim: int, hidden_dim: int, scale: float):
        super().__init__()
        self.hidden = nn.Linear(dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, dim, bias=False)  # equation 17 has no second bias
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.zeros_(self.hidden.bias)
        nn.init.xavier_uniform_(self.out.weight)
        self.scale = scale

    def mean_and_std(self, z: Tensor) -> Tuple[Tensor, Tensor]:
        """mu(z) and sigma(z) in float32 (softplus overflows half precision), each of z's shape."""
        mean = self.out(F.relu(self.hidden(z))).float()
        return mean, F.softplus(mean)

    def forward(self, z: Tensor, eps: Tensor, padding_mask: Optional[Tensor] = None) -> Tensor:
        """The noise to add to *z*, in z's type.

        Args:
            z: latent representation, shape (positions, batch, channels).
            eps: standard normal draws of z's shape.
            padding_mask: True at padding, shape (batch, positions); no noise falls there.
        """
        mean, std = self.mean_and_std(z)
        delta = self.scale * (mean + eps.float() * std)
        if padding_mask is not None:
            delta = delta.masked_fill(padding_mask.t().unsqueeze(-1), 0.0)
        return delta.type_as(z)
