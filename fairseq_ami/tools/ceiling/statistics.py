"""What a reward knows: its rank correlation with quality within a source, and the quality of what it would pick."""

from dataclasses import dataclass
from typing import Iterator, Optional, Tuple

import numpy as np
from scipy.stats import rankdata

from fairseq_ami.tools.reranking.scores import BleuCounts

DRAWS = 50  # of picks among equals
SAME = 1e-9  # differences of this part of the largest one are rounding


@dataclass(frozen=True)
class Picks:
    """One sample of each source, chosen by a reward.

    Attributes:
        bleu: corpus BLEU.
        length: symbols of the picks over those of the references.
    """

    bleu: float
    length: float


def rank_correlation(rewards: np.ndarray, quality: np.ndarray) -> Tuple[Optional[float], int]:
    """Spearman's rank correlation within each source, averaged over sources; equal values share their mean rank.

    Args:
        rewards, quality: shape (sources, k).

    Returns:
        The mean (None if no source tells), and the number of sources left out: those whose samples
        all have one reward or one quality.
    """
    ranks = [rankdata(values, axis=1) for values in (rewards, quality)]
    left, right = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    norm = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    told = norm > 0
    if not told.any():
        return None, len(norm)
    return float(((left * right).sum(axis=1)[told] / norm[told]).mean()), int((~told).sum())


def without_linear_length(rewards: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rewards minus their regression on length within sources, one slope for all sources.

    What is linear in length leaves exactly equal rewards: residuals that are rounding are made equal.

    Args:
        rewards: shape (sources, k).
        lengths: symbols of each sample, shape (sources, k).
    """
    from_mean = [values - values.mean(axis=1, keepdims=True) for values in (rewards, lengths.astype(float))]
    square = (from_mean[1] ** 2).sum()
    if square == 0:
        return rewards
    rest = from_mean[0] - (from_mean[0] * from_mean[1]).sum() / square * from_mean[1]
    step = SAME * np.abs(from_mean[0]).max()
    rounded = np.round(rest / step) * step if step > 0 else rest
    return rounded + rewards.mean(axis=1, keepdims=True)


def picked(rewards: np.ndarray, first: np.ndarray, counts: BleuCounts, seed: int = 0) -> Picks:
    """BLEU and length of the samples of highest reward.

    Equals are drawn from at random, several times, and the results averaged. A constant reward gives chance.

    Args:
        rewards: shape (sources, k).
        first: number of the first sample of a source that is the same text, shape (sources, k).
        counts: BLEU's counts of the samples.
        seed: of the draws.
    """
    found = [counts.bleu(choice) for choice in _choices(rewards, first, seed)]
    return Picks(
        float(np.mean([score.score for score in found])),
        float(np.mean([score.sys_len / max(score.ref_len, 1) for score in found])),
    )


def best_of(rewards: np.ndarray, first: np.ndarray, seed: int = 0) -> np.ndarray:
    """Number of the sample of highest reward of each source, one of them at random among equals.

    Args:
        rewards, first, seed: see :func:`picked`.
    """
    return next(_choices(rewards, first, seed))


def _choices(rewards: np.ndarray, first: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    best = rewards == rewards.max(axis=1, keepdims=True)
    low, high = np.where(best, first, first.max() + 1).min(axis=1), np.where(best, first, -1).max(axis=1)
    if (low == high).all():  # equals are the same text
        yield best.argmax(axis=1)
        return
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield (best * (1.0 - rng.random(best.shape))).argmax(axis=1)  # above 0: one of the best wins
