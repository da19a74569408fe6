"""Importance-weighted bounds on log p(x) and their gradients."""

import math
from typing import Callable

import torch
from torch import Tensor

GRADIENTS = ("dreg", "iwae")


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """log (1/K) sum_k w_k, a lower bound on log p(x) that rises with K (Burda et al. 2016, equation 8).

    Its plain gradient weighs sample k by w_k / sum_j w_j. With K = 1 it is the ELBO's.

    Args:
        log_weights: log p(x, z_k) - log q(z_k|x) in nats, shape (batch, K).

    Returns:
        nats, shape (batch,).
    """
    return log_weights.logsumexp(1) - math.log(log_weights.size(1))


def double_reparametrisation(log_weights: Tensor, kl_weight: float = 1.0) -> Tensor:
    """By what to multiply the gradient of each z_k on its way back to q, for the estimator DReG (Tucker et al. 2019).

    q's own density must be held constant in the log-weights. The plain gradient at z_k has the weight
    v_k = w_k / sum_j w_j and DReG's has v_k^2, hence the factor v_k. Where the log-weights are log p(x|z) + beta
    (log p(z) - log q(z|x)), the same derivation gives the factor (1 - beta) + beta v_k. The expectation is that of the
    plain gradient. The noise is less: it is zero where q is the true posterior.

    Args:
        log_weights: shape (batch, K).
        kl_weight: beta.

    Returns:
        without gradient, shape (batch, K).
    """
    return (1.0 - kl_weight) + kl_weight * torch.softmax(log_weights.detach(), 1)


def with_scaled_gradient(x: Tensor, factor: Callable[[], Tensor]) -> Tensor:
    """*x* itself, whose gradient is multiplied by *factor* on the way back.

    Args:
        x: of any shape.
        factor: asked for in the backward pass only; of a shape that broadcasts with that of *x*.
    """
    if not x.requires_grad:
        return x
    same = x.view_as(x)
    same.register_hook(lambda gradient: gradient * factor())
    return same
