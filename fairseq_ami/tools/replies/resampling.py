"""One system's replies, measured once, and the figures of any resampled set of them."""

from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence

import numpy as np
from scipy import sparse

from fairseq_ami.metrics.corpus import bleu_metric, corpus_metric, scores_of_sums, sentence_sums
from fairseq_ami.metrics.diversity import Ngram, expectation_adjusted_distinct, ngrams
from fairseq_ami.metrics.embedding import embedding_scores
from fairseq_ami.metrics.replies import DISTINCT, EMBEDDING, ENTROPY, count_reply, figures_of_sums
from fairseq_ami.metrics.word_vectors import WordVectors

DRAWS_AT_ONCE = 50
EAD = "ead"

POOLED = (*(f"dist_{n}" for n in DISTINCT), EAD, f"ent_{ENTROPY}")
Rows = Dict[Ngram, int]


class Texts:
    """What all systems are measured against.

    Args:
        references: one text a reply.
        sources: what is replied to, for the copy rates.
        vectors: for the embedding metrics.
        vocabulary: V of the expectation-adjusted distinct.
        metrics: sacreBLEU's beside BLEU, ``chrf`` and ``ter``.
        tokenize: sacreBLEU's tokenizer.
    """

    def __init__(
        self,
        references: Sequence[str],
        sources: Optional[Sequence[str]],
        vectors: Optional[WordVectors],
        vocabulary: int,
        metrics: Sequence[str] = (),
        tokenize: str = "13a",
    ):
        self.texts = list(references)
        self.references = [text.split() for text in references]
        self.sources = None if sources is None else [text.split() for text in sources]
        self.vectors, self.vocabulary, self.tokenize = vectors, vocabulary, tokenize
        self.metrics = [name for name in metrics if name != "bleu"]
        self.rows: Dict[int, Rows] = {n: {} for n in {*DISTINCT, ENTROPY}}  # n-grams of all systems -> row


class System:
    """What the figures of any resampled set of one system's replies follow from.

    Args:
        replies: one text each.
        texts: what they are measured against; their n-grams are added to its rows.
    """

    def __init__(self, replies: Sequence[str], texts: Texts):
        hypotheses = [text.split() for text in replies]
        bleu = bleu_metric(texts.tokenize)
        aligned = zip(hypotheses, texts.references, texts.sources or [None] * len(hypotheses))
        counts = [count_reply(*row, bleu) for row in aligned]
        self.texts = texts
        self.names = list(counts[0])
        self.counts = np.array([list(row.values()) for row in counts], dtype=np.float64)  # (replies, names)
        vectors = texts.vectors
        self.scores = None if vectors is None else embedding_scores(hypotheses, texts.references, vectors)
        self.corpus = {
            name: sentence_sums(corpus_metric(name), replies, texts.texts) for name in texts.metrics
        }  # (replies, sums)
        self.ngrams = {n: ngram_matrix(hypotheses, n, rows) for n, rows in texts.rows.items()}
        self.empty = sum(not words for words in hypotheses)
        self.unknown = None if vectors is None else sum(not vectors.rows(words) for words in hypotheses)
        self.words = len({word for words in hypotheses for word in words})

    def figures(self, times: np.ndarray) -> Dict[str, np.ndarray]:
        """Figures of sets in which each reply stands as often as *times* says.

        Args:
            times: integers of shape (sets, replies).

        Returns:
            Name -> float64 of shape (sets,).
        """
        sums = self.named(times @ self.counts)
        found = figures_of_sums(sums)
        for name, table in self.corpus.items():
            found[name] = scores_of_sums(corpus_metric(name), times @ table)
        if self.scores is not None:
            found.update(zip(EMBEDDING, (times @ self.scores.T / times.sum(axis=1, keepdims=True)).T))
        distinct = {n: np.count_nonzero(self.ngrams[n] @ times.T, axis=0) for n in DISTINCT}
        entropies = column_entropies(self.ngrams[ENTROPY] @ times.T)
        return {**found, **pooled_figures(sums, distinct, entropies, self.texts.vocabulary)}

    def named(self, sums: np.ndarray) -> Dict[str, np.ndarray]:
        """Sums of counts, shape (sets, names), as whole numbers by name."""
        return dict(zip(self.names, sums.astype(np.int64).T))


def pooled_figures(
    sums: Mapping[str, np.ndarray], distinct: Mapping[int, np.ndarray], entropies: np.ndarray, vocabulary: int
) -> Dict[str, np.ndarray]:
    """Figures of all replies together, which are no means over replies.

    Args:
        sums: of counts by name, each of shape (sets,).
        distinct: n -> different n-grams, shape (sets,).
        entropies: of the 4-grams, shape (sets,).
        vocabulary: V of the expectation-adjusted distinct.
    """
    found = {f"dist_{n}": many / np.maximum(sums[f"ngrams_{n}"], 1) for n, many in distinct.items()}
    found[EAD] = expectation_adjusted_distinct(distinct[1], sums["words"], vocabulary)
    found[f"ent_{ENTROPY}"] = entropies
    return found


def ngram_matrix(texts: Sequence[Sequence[str]], n: int, rows: Optional[Rows] = None) -> sparse.csr_array:
    """How often each distinct n-gram occurs in each text.

    Args:
        texts: lists of words.
        n: words of an n-gram.
        rows: which row an n-gram has; those that it lacks are added.

    Returns:
        a sparse array of integers, shape (rows, texts).
    """
    rows = {} if rows is None else rows
    places = [
        (rows.setdefault(gram, len(rows)), column) for column, words in enumerate(texts) for gram in ngrams(words, n)
    ]
    indices = np.array(places, dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(len(places), dtype=np.int64)
    return sparse.csr_array((ones, tuple(indices)), shape=(len(rows), len(texts)))


def count_products(counts: np.ndarray) -> np.ndarray:
    """Sum over the rows of count * log(count), 0 for a count of 0; *counts* has shape (n-grams, sets)."""
    whole = np.arange(counts.max(initial=0) + 1)
    products = whole * np.log(np.maximum(whole, 1))  # looked up: counts are small, logarithms dear
    return products[counts].sum(axis=0)


def entropies_of(products: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Entropies in nats from sums of count * log(count) and the sums of the counts; both of shape (sets,)."""
    totals = np.maximum(totals, 1)
    return np.maximum(np.log(totals) - products / totals, 0.0)


def column_entropies(counts: np.ndarray) -> np.ndarray:
    """Entropies of the columns of *counts*, shape (n-grams, sets); nats."""
    return entropies_of(count_products(counts), counts.sum(axis=0))


def draw_times(
    replies: int, draws: int, seed: int, progress: Callable[[range], Iterable[int]] = lambda starts: starts
) -> Iterator[np.ndarray]:
    """How often each reply is drawn with replacement: always the same for a seed, some draws at a time."""
    generator = np.random.default_rng(seed)
    for start in progress(range(0, draws, DRAWS_AT_ONCE)):
        size = min(DRAWS_AT_ONCE, draws - start)
        drawn = generator.integers(replies, size=(size, replies)) + np.arange(size)[:, None] * replies
        yield np.bincount(drawn.ravel(), minlength=size * replies).reshape(size, replies)


def resampled(
    runs: Sequence[System], draws: int, seed: int, progress: Callable[[range], Iterable[int]] = lambda starts: starts
) -> List[Dict[str, np.ndarray]]:
    """Of each run the figures of all replies, then those of the resampled sets; shape (1 + draws,).

    All runs get the same draws. *progress* is called for each run with the starts of its parts, and returns them.
    """
    replies = len(runs[0].counts)
    times = [np.ones((1, replies), dtype=np.int64)]
    found = []
    for run in runs:
        parts = [*map(run.figures, times), *map(run.figures, draw_times(replies, draws, seed, progress))]
        found.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return found
