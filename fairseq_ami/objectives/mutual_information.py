"""Variational estimates of mutual information from one matrix of scores.

``scores[i, j] = f(x_i, z_j)``, shape (n, n), always this way round: rows are x, columns are z. The diagonal holds the
n joint pairs. Pairs of the product of the marginals are taken off the diagonal, so a true pair is never among them:

* ``negatives="all"``: all n (n - 1) of them;
* ``negatives="roll"``: the n entries (i, i + 1 mod n), a cyclic shift. No other entry is read.

Every function returns a scalar in nats to be ascended, with gradient. float64 stays float64, every other type is
computed in float32, through log-sum-exp. Donsker-Varadhan, MINE, InfoNCE, Jensen-Shannon's objective and SMILE
then take any finite score. NWJ, TUBA, the tangent bound and Jensen-Shannon's value hold E[e^f] itself. That is exact
up to scores of about 88 above the baseline (60 leaves ample room), and -inf with a useless gradient beyond. The
gradient arrives in the type of *scores*: in float16, those four overflow where e^(f - baseline) / pairs passes 65504.

All functions raise ValueError for a matrix that is not square, for fewer than two rows, and for an unknown kind of
negatives. One pair has no negatives, so a caller whose batch can be that small skips the term.

Poole et al. (2019) derive and compare most of these bounds; the sources of each stand with it.
"""

import math
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

NEGATIVES = ("all", "roll")


def _full_precision(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _check(scores: Tensor) -> None:
    if scores.dim() != 2 or scores.size(0) != scores.size(1):
        raise ValueError(f"scores must be a square matrix, not of shape {tuple(scores.shape)}")
    if scores.size(0) < 2:
        raise ValueError("one pair has no negatives: mutual information needs at least two rows")


def _joint_and_marginal(scores: Tensor, negatives: str) -> Tuple[Tensor, Tensor]:
    """Scores of the joint pairs, shape (n,), and of the independent ones, shape (n, n - 1) or (n, 1), row by row."""
    _check(scores)
    scores, n = _full_precision(scores), scores.size(0)
    if negatives == "all":
        # without its first entry the flattened matrix has the diagonal in every (n + 1)-th place
        marginal = scores.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
    elif negatives == "roll":
        rows = torch.arange(n, device=scores.device)
        marginal = scores[rows, rows.roll(-1)].unsqueeze(1)
    else:
        raise ValueError(f"unknown negatives {negatives!r}: choose one of {', '.join(NEGATIVES)}")
    return scores.diagonal(), marginal


def _log_mean_exp(values: Tensor) -> Tensor:
    return values.flatten().logsumexp(0) - math.log(values.numel())


def log_mean_exp_negatives(scores: Tensor, negatives: str = "all") -> Tensor:
    """log E[e^f] over the independent pairs."""
    return _log_mean_exp(_joint_and_marginal(scores, negatives)[1])


def donsker_varadhan(scores: Tensor, negatives: str = "all") -> Tensor:
    """E_joint[f] - log E_marginal[e^f] (Donsker and Varadhan, 1983).

    A lower bound with the true expectations; the log of a sample mean is too low on average, so the estimate from few
    rows is too high. For the same scores it is the highest of the tangent bounds.
    """
    joint, marginal = _joint_and_marginal(scores, negatives)
    return joint.mean() - _log_mean_exp(marginal)


def mine(
    scores: Tensor,
    log_average: Optional[Union[Tensor, float]] = None,
    decay: float = 0.99,
    negatives: str = "all",
) -> Tuple[Tensor, Tensor]:
    """Donsker-Varadhan with MINE's correction of the gradient (Belghazi et al., 2018, section 3.2).

    The gradient of log E[e^f] is E[e^f grad f] / E[e^f]; the batch's own denominator makes it biased. A moving average
    over batches, this one included, takes its place.

    Args:
        log_average: log of the moving average so far, as returned by the last call; None starts it with this batch.
        decay: weight of the old average, in (0, 1).

    Returns:
        The Donsker-Varadhan value, with the corrected gradient; and log of the new average, without gradient.

    Raises:
        ValueError: *decay* outside (0, 1).
    """
    if not 0.0 < decay < 1.0:
        raise ValueError(f"the decay of the moving average must lie between 0 and 1, not {decay}")
    joint, marginal = _joint_and_marginal(scores, negatives)
    log_mean = _log_mean_exp(marginal)
    average = log_mean.detach()
    if log_average is not None:
        old = torch.as_tensor(log_average, dtype=average.dtype, device=average.device).detach()
        average = torch.logaddexp(old + math.log(decay), average + math.log1p(-decay))
    value = joint.mean() - log_mean
    corrected = joint.mean() - (log_mean - average).exp()
    return corrected + (value - corrected).detach(), average


def tuba(scores: Tensor, log_baseline: Union[Tensor, float], negatives: str = "all") -> Tensor:
    """E_joint[f - log a(x)] - E_marginal[e^f / a(x)] + 1 (Barber and Agakov, 2003, as in Poole et al., 2019).

    Args:
        log_baseline: log a(x_i) of each row, shape (n,), or one number for all.
    """
    _check(scores)
    scores = _full_precision(scores)
    # with the type at once: a Python number would be rounded to float32 first
    baseline = torch.as_tensor(log_baseline, dtype=scores.dtype, device=scores.device)
    shifted = scores - baseline.reshape(-1, 1)
    joint, marginal = _joint_and_marginal(shifted, negatives)
    return joint.mean() - _log_mean_exp(marginal).exp() + 1.0


def nwj(scores: Tensor, negatives: str = "all") -> Tensor:
    """E_joint[f] - E_marginal[e^(f - 1)] (Nguyen, Wainwright and Jordan, 2010).

    Its sample estimate is unbiased, with a variance that grows as e^I. Its optimal f is 1 + the log density ratio.
    """
    return tuba(scores, 1.0, negatives)


def tangent_bound(scores: Tensor, log_xi: Union[Tensor, float], negatives: str = "all") -> Tensor:
    """E_joint[f] - xi E_marginal[e^f] + log xi + 1 (VAE-MINE, equation 12).

    It bounds Donsker-Varadhan from below and touches it at xi = 1 / E[e^f]; xi = 1 / e is NWJ. Its gradient is unbiased
    only for a xi that does not come from the same batch.

    Args:
        log_xi: log of the tangent scope, one number.
    """
    return tuba(scores, -log_xi, negatives)


def optimal_log_xi(scores: Tensor, negatives: str = "all") -> Tensor:
    """-log E_marginal[e^f], where :func:`tangent_bound` is highest.

    VAE-MINE's equation 13 prints xi* = E[e^f]; the derivative of -xi E[e^f] + log xi vanishes at its inverse.
    """
    return -log_mean_exp_negatives(scores, negatives)


def jensen_shannon(scores: Tensor, negatives: str = "all") -> Tuple[Tensor, Tensor]:
    """The Jensen-Shannon objective, and the mutual information that its critic gives.

    The objective is E_joint[-softplus(-f)] - E_marginal[softplus(f)] (Nowozin et al., 2016; Hjelm et al., 2019). It is
    no estimate of mutual information: at best it is 2 JSD - 2 log 2, between -2 log 2 and 0. Its optimal f is the log
    density ratio, so the estimate puts f + 1 into NWJ: E_joint[f] - E_marginal[e^f] + 1. That is a lower bound for
    every f.

    Returns:
        The objective to ascend, and the estimate to be reported.
    """
    joint, marginal = _joint_and_marginal(scores, negatives)
    objective = F.logsigmoid(joint).mean() - F.softplus(marginal).mean()
    return objective, tangent_bound(scores, 0.0, negatives)


def smile(scores: Tensor, clip: float, negatives: str = "all") -> Tensor:
    """E_joint[f] - log E_marginal[clip(e^f, e^-clip, e^clip)] (Song and Ermon, 2020).

    Clipping trades variance for bias: this is no bound. An infinite *clip* gives Donsker-Varadhan. The critic is best
    trained by :func:`jensen_shannon`'s objective; ascending this one pushes the joint scores without limit.

    Raises:
        ValueError: *clip* is not positive.
    """
    if not clip > 0.0:
        raise ValueError(f"SMILE's clip must be positive, not {clip}")
    joint, marginal = _joint_and_marginal(scores, negatives)
    return joint.mean() - _log_mean_exp(marginal.clamp(-clip, clip))


def info_nce(scores: Tensor) -> Tensor:
    """mean_i log(e^f(x_i, z_i) / mean_j e^f(x_i, z_j)) (van den Oord et al., 2018); at most log n.

    Each x picks its z among all n; ``info_nce(scores.t())`` lets each z pick its x. The true pair belongs to the
    denominator: that is what makes it a bound, so there is no choice of negatives.
    """
    _check(scores)
    n = scores.size(0)
    return math.log(n) - F.cross_entropy(_full_precision(scores), torch.arange(n, device=scores.device))


def info_nce_terms(local_features: Tensor, global_features: Tensor, mask: Tensor) -> Tensor:
    """InfoNCE between the tokens and the whole of sentences, the contrastive term of InfoMax-GAN (Lee et al., 2021).

    f is the dot product. Each token's candidates are itself and every token of the *other* sentences, against the
    global feature of its own sentence: another token of the same sentence is no negative.

    Args:
        local_features: token features, shape (n, tokens, dim).
        global_features: sentence features, shape (n, dim).
        mask: True at tokens that count, shape (n, tokens).

    Returns:
        A term for each token, shape (n, tokens), 0 where *mask* is False.

    Raises:
        ValueError: fewer than two sentences have a token.
    """
    if int(mask.any(1).sum()) < 2:
        raise ValueError("at least two sentences must have a token: there are no negatives otherwise")
    # (n, n, tokens): global feature, sentence, token
    scores = torch.einsum("ad,btd->abt", _full_precision(global_features), _full_precision(local_features))
    own = torch.eye(len(mask), dtype=torch.bool, device=mask.device).unsqueeze(-1)
    negative = mask.unsqueeze(0) & ~own
    others = scores.masked_fill(~negative, -math.inf).flatten(1).logsumexp(1)  # (n,)
    positive = scores.diagonal().t()  # (n, tokens)
    candidates = 1.0 + negative.flatten(1).sum(1)
    terms = positive - torch.logaddexp(positive, others.unsqueeze(1)) + candidates.log().unsqueeze(1)
    return terms.masked_fill(~mask, 0.0)
