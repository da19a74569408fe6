"""Log-likelihoods of token sequences."""

from typing import Tuple

import torch
import torch.nn.functional as F
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from torch import Tensor


def token_log_probs(log_probs: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """log p of each token, 0 where *mask* is False.

    Args:
        log_probs: of the positions where *mask* is True, shape (positions, vocabulary).
        tokens: shape (batch, length).
        mask: True where a token counts, shape (batch, length).

    Returns:
        float32, shape (batch, length).
    """
    picked = log_probs.float().gather(-1, tokens[mask].unsqueeze(-1)).squeeze(-1)
    return picked.new_zeros(tokens.shape).masked_scatter(mask, picked)


@torch.no_grad()
def entropies(log_probs: Tensor) -> Tensor:
    """Entropy of each distribution, nats; no gradient.

    Args:
        log_probs: normalised, minus infinity where impossible; shape (positions, vocabulary).

    Returns:
        shape (positions,).
    """
    return -log_probs.exp().mul_(log_probs).nansum(-1)  # 0 log 0 comes out as NaN


def label_smoothed_nll(log_probs: Tensor, target: Tensor, smoothing: float, pad: int) -> Tuple[Tensor, Tensor]:
    """Smoothed and plain negative log-likelihood, summed over the batch (fairseq's own function).

    Args:
        log_probs: shape (..., vocabulary).
        target: shape (...).

    Returns:
        Two scalars: the loss to minimise, and the plain NLL.
    """
    flat = log_probs.reshape(-1, log_probs.size(-1))
    return label_smoothed_nll_loss(flat, target.reshape(-1), smoothing, ignore_index=pad)


def token_log_likelihood(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """log p of each target token under a softmax over *logits*, 0 where *mask* is False.

    Args:
        logits: of the positions where *mask* is True, shape (positions, vocabulary).
        target: shape (batch, length).
        mask: True where a token counts, shape (batch, length).

    Returns:
        float32, shape (batch, length).
    """
    found = -F.cross_entropy(logits.float(), target[mask], reduction="none")
    return found.new_zeros(target.shape).masked_scatter(mask, found)
