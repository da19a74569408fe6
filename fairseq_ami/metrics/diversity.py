"""Diversity of a set of texts."""

from typing import Iterable, Set, Tuple


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Dist-n (Li et al., 2016a): distinct n-grams over all n-grams of all texts together.

    Words are what white space separates: undo subwords first. The number falls as texts are added, so
    compare only sets of equal size.

    Args:
        texts: one text each; an n-gram never crosses from one into the next.
        n: length of the n-grams in words, at least 1.

    Returns:
        In [0, 1]; 0 if no text has n words.

    Raises:
        ValueError: n below 1.
    """
    if n < 1:
        raise ValueError(f"n-grams have at least one word, not {n}")
    seen: Set[Tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = text.split()
        grams = list(zip(*(words[start:] for start in range(n))))
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else 0.0
