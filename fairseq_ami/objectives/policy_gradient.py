"""REINFORCE with a baseline (AMI equation 12; Williams, 1992), and minimum risk (Shen et al., 2016)."""

from typing import Optional

import torch
from torch import Tensor


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each reward minus the mean reward of the other samples of its source.

    A mean that includes the sample itself would shrink the gradient by (k - 1) / k. The differences are taken
    one by one, so that equal rewards give exactly 0.

    Args:
        rewards: shape (batch, k) with k >= 2.

    Raises:
        ValueError: fewer than two samples per source.
    """
    count = rewards.size(1)
    if count < 2:
        raise ValueError("the leave-one-out baseline needs at least two samples per source")
    return (rewards.unsqueeze(2) - rewards.unsqueeze(1)).sum(2) / (count - 1)


def advantages(rewards: Tensor, baseline: Optional[float]) -> Tensor:
    """Reward minus baseline.

    Args:
        rewards: the whole reward, K(T') log Q(S|T') where K is used, shape (batch, k). The baseline is of
            this product: K * (r - b) with a baseline b of r alone would be biased.
        baseline: a number that does not depend on these samples; None takes the leave-one-out mean.
    """
    return (leave_one_out(rewards) if baseline is None else rewards - baseline).detach()


def policy_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Loss whose gradient is the score-function estimate of -grad E[reward].

    Args:
        log_prob: log P(T'|S) of each sample, with gradient, shape (batch, k); or of each of its symbols, shape
            (batch, k, length).
        advantage: of the same shape, no gradient.

    Returns:
        Mean over the samples of each source, shape (batch,) or (batch, length).
    """
    return -(advantage.detach() * log_prob).mean(1)


def first_of_its_kind(tokens: Tensor, k: int) -> Tensor:
    """True at each sample that no earlier sample of its source equals, shape (batch, k).

    Args:
        tokens: samples, those of one source neighbours, shape (batch * k, length).
        k: samples per source.
    """
    rows = tokens.view(-1, k, tokens.size(1))
    alike = (rows.unsqueeze(1) == rows.unsqueeze(2)).all(-1)  # (batch, k, k)
    return ~alike.tril(diagonal=-1).any(-1)


def minimum_risk_loss(log_prob: Tensor, rewards: Tensor, alpha: float, distinct: Optional[Tensor] = None) -> Tensor:
    """Minus the expected reward over the samples of each source, as if there were no other outputs.

    The probabilities are renormalised over the distinct samples and sharpened,
    Q(y) = P(y)^alpha / sum_y' P(y')^alpha (Shen et al., 2016, equations 11 and 12). A baseline would change nothing.

    Args:
        log_prob: log P(T'|S) of each sample, with gradient, shape (batch, k).
        rewards: shape (batch, k), no gradient.
        alpha: sharpness; at 0 all samples count alike, and nothing is learnt.
        distinct: False at samples that repeat an earlier one, shape (batch, k); None where all differ.

    Returns:
        Shape (batch,).
    """
    logits = alpha * log_prob
    if distinct is not None:
        logits = logits.masked_fill(~distinct, float("-inf"))
    return -(torch.softmax(logits, dim=1) * rewards.detach()).sum(1)


def within_source(values: Tensor) -> Tensor:
    """*values* (batch, k) minus the mean of each source."""
    return values - values.mean(1, keepdim=True)


def without_length(rewards: Tensor, lengths: Tensor, slope: float) -> Tensor:
    """Rewards without what is linear in the length of a sample.

    Args:
        rewards: shape (batch, k).
        lengths: symbols of each sample, shape (batch, k).
        slope: reward per symbol, of a regression within sources over earlier updates.

    Returns:
        Shape (batch, k); the mean of each source is that of its rewards.
    """
    lengths = lengths.to(rewards)  # the mean is added afterwards: what is linear in length then cancels exactly
    return rewards - slope * lengths + slope * lengths.mean(1, keepdim=True)
