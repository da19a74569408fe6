"""REINFORCE with a baseline (AMI equation 12; Williams, 1992)."""

from typing import Optional

from torch import Tensor


def leave_one_out_baseline(rewards: Tensor) -> Tensor:
    """Mean reward of the other samples of the same source.

    A mean that includes the sample itself would shrink the gradient by (k - 1) / k.

    Args:
        rewards: shape (batch, k) with k >= 2.

    Raises:
        ValueError: fewer than two samples a source.
    """
    count = rewards.size(1)
    if count < 2:
        raise ValueError("the leave-one-out baseline needs at least two samples a source")
    return (rewards.sum(1, keepdim=True) - rewards) / (count - 1)


def advantages(rewards: Tensor, baseline: Optional[float]) -> Tensor:
    """Reward less baseline.

    Args:
        rewards: the whole reward, K(T') log Q(S|T') where K is used, shape (batch, k). The baseline is of
            this product: K * (r - b) with a baseline b of r alone would be biased.
        baseline: a number that does not depend on these samples; None takes the leave-one-out mean.
    """
    b = leave_one_out_baseline(rewards) if baseline is None else baseline
    return (rewards - b).detach()


def policy_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Loss whose gradient is the score-function estimate of -grad E[reward].

    Args:
        log_prob: log P(T'|S) of each sample, with gradient, shape (batch, k).
        advantage: shape (batch, k), no gradient.

    Returns:
        Mean over the samples of each source, shape (batch,).
    """
    return -(advantage.detach() * log_prob).mean(1)
