"""Diversity of a set of texts: Dist-n, the expectation-adjusted distinct, Ent-n and repetition.

Words are what white space separates: undo subwords first. Dist-n and Ent-n depend on the number of texts: compare
only sets of equal size. The expectation-adjusted distinct depends much less on it.
"""

import math
from collections import Counter
from typing import Iterable, Iterator, Sequence, Tuple, Union

import numpy as np

Ngram = Tuple[str, ...]
Numbers = Union[float, np.ndarray]


def ngrams(words: Sequence[str], n: int) -> Iterator[Ngram]:
    """All n-grams of one text, from left to right; none if it has fewer than n words.

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"n-grams have at least one word, not {n}")
    return zip(*(words[start:] for start in range(n)))


def count_ngrams(texts: Iterable[str], n: int) -> "Counter[Ngram]":
    """How often each n-gram occurs in all texts together; none crosses from one text into the next.

    Raises:
        ValueError: n below 1.
    """
    counts: "Counter[Ngram]" = Counter(ngrams((), n))  # refuses a wrong n even if there is no text
    for text in texts:
        counts.update(ngrams(text.split(), n))
    return counts


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Dist-n (Li et al., 2016a): distinct n-grams over all n-grams of all texts together.

    Args:
        texts: one text each.
        n: length of the n-grams in words, at least 1.

    Returns:
        In [0, 1]; 0 if no text has n words. It falls as texts are added.

    Raises:
        ValueError: n below 1.
    """
    counts = count_ngrams(texts, n)
    total = sum(counts.values())
    return len(counts) / total if total else 0.0


def expectation_adjusted_distinct(distinct: Numbers, total: Numbers, vocabulary: int) -> np.ndarray:
    """EAD (Liu et al., 2022, "Rethinking and Refining the Distinct Metric"): N / (V (1 - ((V - 1) / V)^C)).

    The denominator is the number of distinct words expected of C words drawn uniformly from a vocabulary of V. Dist-1
    divides by C instead, and so falls with the length of the texts.

    Args:
        distinct: N, different words of all texts together; a number or an array.
        total: C, words of all texts together; of the same shape.
        vocabulary: V, words that a text may be made of.

    Returns:
        Of that shape; 0 where there is no word. It may be above 1.

    Raises:
        ValueError: V below 1.
    """
    if vocabulary < 1:
        raise ValueError(f"a vocabulary has at least one word, not {vocabulary}")
    # ((V - 1) / V)^C through logarithms: the plain power loses all digits where V is much larger than C
    log_missed = np.log1p(-1.0 / vocabulary) if vocabulary > 1 else -np.inf
    total = np.asarray(total, dtype=np.float64)
    expected = -vocabulary * np.expm1(np.where(total > 0, total, 1.0) * log_missed)
    return np.where(total > 0, distinct / expected, 0.0)


def entropy(counts: Iterable[int]) -> float:
    """Entropy of the distribution that positive *counts* are proportional to; nats, 0 without counts.

    Of the counts of n-grams it is Ent-n (Zhang et al., 2018b), unsmoothed.

    The sum is correctly rounded, so that the order of the counts does not matter.
    """
    counts = list(counts)
    total = sum(counts)
    return math.fsum(count * math.log(total / count) for count in counts) / total if total else 0.0


def repeated_ngrams(words: Sequence[str], n: int) -> int:
    """How many n-grams of one text stood in it before: all minus the distinct ones."""
    found = list(ngrams(words, n))
    return len(found) - len(set(found))
