"""Likeness of replies to references by word vectors: embedding average, greedy and extrema (Liu et al., 2016).

Words without a vector are skipped. A reply without a known word scores 0, and so does one whose reference has none.
Texts are lists of words; all scores are float64 of shape (replies,) and lie in [-1, 1].
"""

from typing import Callable, Iterator, Sequence, Tuple

import numpy as np

from fairseq_ami.metrics.word_vectors import WordVectors

Texts = Sequence[Sequence[str]]

_NUMBERS_A_BATCH = 1 << 21  # 16 MiB of padded vectors
_PAIRS_A_BATCH = 4096


def embedding_average(hypotheses: Texts, references: Texts, vectors: WordVectors) -> np.ndarray:
    """Cosine of the sums of word vectors (Foltz et al., 1998; Mitchell and Lapata, 2008)."""
    return _scores(hypotheses, references, vectors, _average)[0]


def embedding_scores(hypotheses: Texts, references: Texts, vectors: WordVectors) -> np.ndarray:
    """Average as :func:`embedding_average`, greedy and extrema.

    Greedy is each word's best cosine with a word of the other text, averaged over words, then over both directions (Rus
    and Lintean, 2012). Extrema is the cosine of the texts' extreme vectors: per dimension the value of largest
    magnitude, of two opposite ones the positive one (Forgues et al., 2014).

    Returns:
        Average, greedy and extrema; shape (3, replies).

    Raises:
        ValueError: not as many hypotheses as references.
    """
    return _scores(hypotheses, references, vectors, _average, _greedy, _extrema)


def _scores(
    hypotheses: Texts, references: Texts, vectors: WordVectors, *metrics: Callable[..., np.ndarray]
) -> np.ndarray:
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    rows = [[vectors.rows(words) for words in texts] for texts in (hypotheses, references)]
    lengths = np.array([[len(words) for words in texts] for texts in rows], dtype=np.int64).reshape(2, -1)
    scores = np.zeros((len(metrics), len(hypotheses)))
    for batch in _batches(lengths, vectors.matrix.shape[1]):
        (first, first_mask), (second, second_mask) = (
            _padded([texts[index] for index in batch], vectors.matrix) for texts in rows
        )
        scores[:, batch] = [metric(first, first_mask, second, second_mask) for metric in metrics]
    return scores


def _batches(lengths: np.ndarray, dimensions: int) -> Iterator[np.ndarray]:
    """Indices of pairs with words on both sides, of like lengths, a bounded amount of padded numbers at a time."""
    usable = np.flatnonzero(lengths.min(axis=0))
    order = usable[np.lexsort(lengths[:, usable])]
    start = 0
    while start < len(order):
        window = order[start : start + _PAIRS_A_BATCH]
        longest = np.maximum.accumulate(lengths[:, window], axis=1).sum(axis=0)
        numbers = longest * np.arange(1, len(window) + 1) * dimensions  # in a batch that ends there
        size = max(1, int(np.searchsorted(numbers, _NUMBERS_A_BATCH)))
        yield window[:size]
        start += size


def _padded(texts: Sequence[Sequence[int]], matrix: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Vectors of the rows of each text, zero behind its end, and the mask of what is no padding."""
    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    mask = np.arange(ids.shape[1]) < np.array([[len(words)] for words in texts])
    ids[mask] = [row for words in texts for row in words]
    vectors = matrix[ids]
    vectors[~mask] = 0.0
    return vectors, mask


# Vectors of shape (batch, words, dimensions), zero where the masks, shape (batch, words), are False.


def _average(first: np.ndarray, first_mask: np.ndarray, second: np.ndarray, second_mask: np.ndarray) -> np.ndarray:
    return _cosine(first.sum(axis=1), second.sum(axis=1))


def _greedy(first: np.ndarray, first_mask: np.ndarray, second: np.ndarray, second_mask: np.ndarray) -> np.ndarray:
    cosines = _unit(first) @ _unit(second).swapaxes(1, 2)  # (batch, words, words)
    to_second = np.where(second_mask[:, None, :], cosines, -np.inf).max(axis=2)
    to_first = np.where(first_mask[:, :, None], cosines, -np.inf).max(axis=1)
    return (_masked_mean(to_second, first_mask) + _masked_mean(to_first, second_mask)) / 2


def _extrema(first: np.ndarray, first_mask: np.ndarray, second: np.ndarray, second_mask: np.ndarray) -> np.ndarray:
    return _cosine(_extremes(first), _extremes(second))


def _extremes(vectors: np.ndarray) -> np.ndarray:
    high, low = vectors.max(axis=1), vectors.min(axis=1)  # padding is 0, which is never of largest magnitude
    return np.where(high >= -low, high, low)


def _masked_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, values, 0.0).sum(axis=1) / mask.sum(axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; zero vectors, which have a cosine of 0 with every other, stay zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (_unit(first) * _unit(second)).sum(axis=-1)
