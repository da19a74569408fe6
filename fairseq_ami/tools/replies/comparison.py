"""The text metrics of several systems side by side, with bootstrap intervals and tests."""

from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import sparse

from fairseq_ami.metrics.diversity import Ngram, ngrams
from fairseq_ami.metrics.embedding import embedding_scores
from fairseq_ami.metrics.replies import (
    COPIED,
    DISTINCT,
    EMBEDDING,
    ENTROPY,
    bleu_metric,
    count_reply,
    figures_of_sums,
)
from fairseq_ami.metrics.word_vectors import WordVectors

DRAWS_AT_ONCE = 50

_POOLED = (*(f"dist_{n}" for n in DISTINCT), f"ent_{ENTROPY}")
_ORDER = (*EMBEDDING, *_POOLED, "bleu", "length", "repetition", *(f"copy_{n}" for n in COPIED))


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval over resampled sets of replies, None if none was asked for."""

    value: float
    low: Optional[float] = None
    high: Optional[float] = None


@dataclass(frozen=True)
class SystemReport:
    """Of one system.

    Attributes:
        empty: replies without a word.
        unknown: replies without a word that has a vector, the empty ones among them; None without vectors.
        figures: by the names of :mod:`.replies`.
        gains: figures less those of the first system, paired; empty for the first system itself.
        bleu_p: p-value of the difference in BLEU from the first system, by sacreBLEU's paired bootstrap test.
    """

    empty: int
    unknown: Optional[int]
    figures: Dict[str, Estimate]
    gains: Dict[str, Estimate]
    bleu_p: Optional[float]


@dataclass(frozen=True)
class Comparison:
    """Of all systems on the same references.

    Attributes:
        replies: how many of each system; Dist-n and Ent-4 depend on it.
        unknown_references: references without a word that has a vector: every reply to them scores 0.
        vectors: name of the word vectors.
        signature: sacreBLEU's.
        draws, seed: of the bootstrap.
        systems: by name, in the order given.
    """

    replies: int
    unknown_references: Optional[int]
    vectors: Optional[str]
    signature: str
    draws: int
    seed: int
    systems: Dict[str, SystemReport]

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    systems: Mapping[str, Sequence[str]],
    references: Sequence[str],
    sources: Optional[Sequence[str]] = None,
    vectors: Optional[WordVectors] = None,
    draws: int = 1000,
    seed: int = 1,
    tokenize: str = "13a",
) -> Comparison:
    """Measure all *systems* on the same resampled sets of replies.

    The interval of a figure lies between the 2.5 and 97.5 percentiles of its resampled values. Resampled replies repeat
    one another, which lowers Dist-n and Ent-n: there the percentiles are moved by what the mean of the resampled values
    lies below the figure. For Dist-n that is rough: on 1000 replies of real dialogue the width was 0.86 (Dist-1) and
    1.65 (Dist-2) times that of fresh samples, and 1.05 times for Ent-4.

    Args:
        systems: name -> replies, one text each.
        references: one text a reply.
        sources: what is replied to, for the copy rates.
        vectors: for the embedding metrics.
        draws: resampled sets; 0: no intervals, no tests.
        seed: of the draws. sacreBLEU's test has its own, the environment's SACREBLEU_SEED.
        tokenize: sacreBLEU's tokenizer.

    Raises:
        ValueError: no systems or no references, or sides of different numbers of texts.
    """
    sides = [*systems.values(), *([] if sources is None else [sources])]
    if not systems or not references or any(len(texts) != len(references) for texts in sides):
        raise ValueError(f"{len(references)} references for texts of lengths {[len(texts) for texts in sides]}")
    words = [text.split() for text in references]
    source_words = None if sources is None else [text.split() for text in sources]
    prepared = {
        name: _System([text.split() for text in texts], words, source_words, vectors, tokenize)
        for name, texts in systems.items()
    }
    resampled = {name: _resample(system.figures, len(references), draws, seed) for name, system in prepared.items()}
    signature, p_values = _test(systems, references, draws, tokenize)
    first = next(iter(resampled.values()))
    reports = {}
    for (name, system), values in zip(prepared.items(), resampled.values()):
        gains = {} if values is first else {key: _estimate(key, values[key] - first[key]) for key in _ordered(values)}
        figures = {key: _estimate(key, values[key]) for key in _ordered(values)}
        reports[name] = SystemReport(system.empty, system.unknown, figures, gains, p_values.get(name))
    unknown = None if vectors is None else sum(not vectors.rows(text) for text in words)
    vectors_name = None if vectors is None else vectors.name
    return Comparison(len(references), unknown, vectors_name, signature, draws, seed, reports)


def _ordered(values: Mapping[str, Any]) -> List[str]:
    return [name for name in _ORDER if name in values]


class _System:
    """What the figures of any resampled set of one system's replies follow from."""

    def __init__(
        self,
        hypotheses: List[List[str]],
        references: List[List[str]],
        sources: Optional[List[List[str]]],
        vectors: Optional[WordVectors],
        tokenize: str,
    ):
        bleu = bleu_metric(tokenize)
        aligned = zip(hypotheses, references, sources or [None] * len(hypotheses))
        counts = [count_reply(*texts, bleu) for texts in aligned]
        self.names = list(counts[0])
        self.counts = np.array([list(row.values()) for row in counts], dtype=np.float64)  # (replies, names)
        self.scores = None if vectors is None else embedding_scores(hypotheses, references, vectors)
        self.ngrams = {n: ngram_matrix(hypotheses, n) for n in {*DISTINCT, ENTROPY}}
        self.empty = sum(not words for words in hypotheses)
        self.unknown = None if vectors is None else sum(not vectors.rows(words) for words in hypotheses)

    def figures(self, times: np.ndarray) -> Dict[str, np.ndarray]:
        """Figures of sets in which each reply stands as often as *times* says.

        Args:
            times: integers of shape (sets, replies).

        Returns:
            Name -> float64 of shape (sets,).
        """
        sums = dict(zip(self.names, (times @ self.counts).astype(np.int64).T))
        found = figures_of_sums(sums)
        if self.scores is not None:
            found.update(zip(EMBEDDING, (times @ self.scores.T / times.sum(axis=1, keepdims=True)).T))
        for n in DISTINCT:
            distinct = np.count_nonzero(self.ngrams[n] @ times.T, axis=0)
            found[f"dist_{n}"] = distinct / np.maximum(sums[f"ngrams_{n}"], 1)
        found[f"ent_{ENTROPY}"] = column_entropies(self.ngrams[ENTROPY] @ times.T)
        return found


def ngram_matrix(texts: Sequence[Sequence[str]], n: int) -> sparse.csr_array:
    """How often each distinct n-gram occurs in each text; integers of shape (distinct n-grams, texts)."""
    rows: Dict[Ngram, int] = {}
    places = [
        (rows.setdefault(gram, len(rows)), column) for column, words in enumerate(texts) for gram in ngrams(words, n)
    ]
    indices = np.array(places, dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(len(places), dtype=np.int64)
    return sparse.csr_array((ones, tuple(indices)), shape=(len(rows), len(texts)))


def column_entropies(counts: np.ndarray) -> np.ndarray:
    """Entropies of the columns of *counts*, shape (n-grams, sets); nats."""
    total = counts.sum(axis=0)
    whole = np.arange(counts.max(initial=0) + 1)
    products = whole * np.log(np.maximum(whole, 1))  # looked up: counts are small, logarithms dear
    total = np.maximum(total, 1)
    return np.maximum(np.log(total) - products[counts].sum(axis=0) / total, 0.0)


def _resample(
    figures: Callable[[np.ndarray], Dict[str, np.ndarray]], replies: int, draws: int, seed: int
) -> Dict[str, np.ndarray]:
    """The figures of all replies, then those of the resampled sets; shape (1 + draws,)."""
    parts = [figures(np.ones((1, replies), dtype=np.int64)), *map(figures, draw_times(replies, draws, seed))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draw_times(replies: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each reply is drawn with replacement: always the same for a seed, some draws at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, draws, DRAWS_AT_ONCE):
        size = min(DRAWS_AT_ONCE, draws - start)
        drawn = generator.integers(replies, size=(size, replies)) + np.arange(size)[:, None] * replies
        yield np.bincount(drawn.ravel(), minlength=size * replies).reshape(size, replies)


def _estimate(name: str, values: np.ndarray) -> Estimate:
    value, drawn = float(values[0]), values[1:]
    if not len(drawn):
        return Estimate(value)
    if name in _POOLED:
        drawn = drawn + (value - drawn.mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _test(systems: Mapping[str, Sequence[str]], references: Sequence[str], draws: int, tokenize: str) -> Any:
    """sacreBLEU's signature, and the p-values of all systems but the first by name."""
    bleu = BLEU(tokenize=tokenize, force=True)
    if len(systems) < 2 or not draws:
        bleu.corpus_score(references, [references])  # the signature tells the number of references after a score only
        return str(bleu.get_signature()), {}
    test = PairedTest(list(systems.items()), {"BLEU": bleu}, [references], test_type="bs", n_samples=draws)
    signatures: Any
    results: Any
    signatures, results = test()
    return str(signatures["BLEU"]), {name: result.p_value for name, result in zip(systems, results["BLEU"])}
