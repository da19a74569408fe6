"""Log-likelihoods of token sequences."""

from typing import Tuple

import torch
import torch.nn.functional as F
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from torch import Tensor


def places_of(mask: Tensor) -> Tensor:
    """Numbers of the entries that are True, in the flattened *mask*, shape (entries,).

    The host waits for the device here, once: with a mask as an index it would at every use, and in the backward pass.
    """
    return mask.flatten().nonzero().squeeze(1)


def put(values: Tensor, places: Tensor, shape: torch.Size) -> Tensor:
    """*values* at the *places* of a tensor of this *shape*, and 0 elsewhere."""
    return values.new_zeros(shape.numel()).index_copy(0, places, values).view(shape)


def token_log_probs(log_probs: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """log p of each token, 0 where *mask* is False.

    Args:
        log_probs: of the positions where *mask* is True, shape (positions, vocabulary).
        tokens: shape (batch, length).
        mask: True where a token counts, shape (batch, length).

    Returns:
        float32, shape (batch, length).
    """
    places = places_of(mask)
    picked = log_probs.float().gather(-1, tokens.flatten()[places].unsqueeze(-1)).squeeze(-1)
    return put(picked, places, tokens.shape)


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
    places = places_of(mask)
    return put(-F.cross_entropy(logits.float(), target.flatten()[places], reduction="none"), places, target.shape)
