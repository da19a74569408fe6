"""The text metrics of one system's replies, and how they are gathered over several workers.

========================  ==========================================================================================
figure                    definition; words are what white space separates
========================  ==========================================================================================
average, greedy, extrema  likeness to the reference by word vectors, mean over replies (:mod:`.embedding`)
dist_1, dist_2            distinct n-grams over all n-grams of all replies together
ent_4                     entropy of the 4-grams of all replies together, nats
bleu                      sacreBLEU's corpus score, 0 to 100
length                    words a reply
repetition                share of the 4-grams that stood earlier in the same reply, over all replies together
copy_1, copy_2            share of the replies' words and bigrams that occur in the reply's own source
========================  ==========================================================================================

All but Dist-n and Ent-n are ratios of sums over replies: the sums are kept, so that parts can be added up exactly.
"""

import math
from collections import Counter
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
from numpy.typing import ArrayLike
from sacrebleu.metrics import BLEU

from fairseq_ami.metrics.corpus import bleu_metric
from fairseq_ami.metrics.diversity import Ngram, entropy, ngrams, repeated_ngrams
from fairseq_ami.metrics.embedding import embedding_scores
from fairseq_ami.metrics.word_vectors import WordVectors

EMBEDDING = ("average", "greedy", "extrema")
DISTINCT = (1, 2)
ENTROPY = 4
REPEATED = 4
COPIED = (1, 2)

_COUNTED = sorted({*DISTINCT, ENTROPY, REPEATED, *COPIED})
_BLEU_SUMS = ("bleu_length", "bleu_reference_length", *(f"bleu_{kind}_{n}" for kind in "ct" for n in range(1, 5)))


def count_reply(
    reply: Sequence[str], reference: Sequence[str], source: Optional[Sequence[str]], bleu: BLEU
) -> Dict[str, int]:
    """What one reply adds to the sums.

    Args:
        reply, reference: words.
        source: words of what is replied to, or None: no copy rates then.
        bleu: sacreBLEU's metric.
    """
    score = bleu.corpus_score([" ".join(reply)], [[" ".join(reference)]])
    counts = dict(zip(_BLEU_SUMS, (score.sys_len, score.ref_len, *score.counts, *score.totals)))
    counts.update(replies=1, empty=int(not reply), words=len(reply))
    counts.update({f"ngrams_{n}": max(len(reply) - n + 1, 0) for n in _COUNTED})
    counts["repeated"] = repeated_ngrams(reply, REPEATED)
    if source is not None:
        for n in COPIED:
            there = set(ngrams(source, n))
            counts[f"copied_{n}"] = sum(gram in there for gram in ngrams(reply, n))
    return counts


def figures_of_sums(sums: Mapping[str, Any]) -> Dict[str, Any]:
    """The figures that are ratios of sums.

    Args:
        sums: of :func:`count_reply`, or arrays of any one shape: one sum a resampled corpus.

    Returns:
        Name -> figure, of the shape of the sums; 0 where the denominator is 0.
    """
    return {"bleu": _bleu(sums), **plain_ratios(sums)}


def plain_ratios(sums: Mapping[str, Any]) -> Dict[str, np.ndarray]:
    """The same without BLEU: what is the ratio of just two sums."""
    figures = {"length": _ratio(sums["words"], sums["replies"])}
    figures["repetition"] = _ratio(sums["repeated"], sums[f"ngrams_{REPEATED}"])
    for n in COPIED:
        if f"copied_{n}" in sums:
            figures[f"copy_{n}"] = _ratio(sums[f"copied_{n}"], sums[f"ngrams_{n}"])
    return figures


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=np.asarray(denominator) > 0)


def _bleu(sums: Mapping[str, Any]) -> np.ndarray:
    table = np.stack([np.asarray(sums[name]) for name in _BLEU_SUMS], axis=-1)
    scores = [
        BLEU.compute_bleu(row[2:6], row[6:], row[0], row[1], smooth_method="exp").score
        for row in table.reshape(-1, len(_BLEU_SUMS)).tolist()
    ]
    return np.reshape(scores, table.shape[:-1])


class ReplyStatistics:
    """Adds up replies, those of other workers too: the result is bit for bit that of one worker with all of them.

    It can be pickled, and holds counts and one number a reply and embedding metric, not the texts.
    """

    def __init__(self, tokenize: str = "13a"):
        """*tokenize*: sacreBLEU's tokenizer."""
        self.tokenize = tokenize
        self.sums: "Counter[str]" = Counter()
        self.ngrams: Dict[int, "Counter[Ngram]"] = {n: Counter() for n in {*DISTINCT, ENTROPY}}
        self.scores: Dict[str, List[float]] = {name: [] for name in EMBEDDING}
        self.with_source = 0

    def add(
        self,
        reply: Sequence[str],
        reference: Sequence[str],
        source: Optional[Sequence[str]] = None,
        vectors: Optional[WordVectors] = None,
    ) -> None:
        """Add one reply.

        Args:
            reply, reference: words.
            source: words of what is replied to: for the copy rates.
            vectors: for the embedding metrics.
        """
        self.sums.update(count_reply(reply, reference, source, bleu_metric(self.tokenize)))
        self.with_source += source is not None
        for n, counts in self.ngrams.items():
            counts.update(ngrams(reply, n))
        if vectors is not None:
            # One by one: the last bit of a batched product depends on what else is in the batch.
            for name, (score,) in zip(EMBEDDING, embedding_scores([reply], [reference], vectors)):
                self.scores[name].append(float(score))

    def merge(self, other: "ReplyStatistics") -> "ReplyStatistics":
        """Add the replies of *other*; returns itself.

        Raises:
            ValueError: another tokenizer.
        """
        if self.tokenize != other.tokenize:
            raise ValueError(f"BLEU under {self.tokenize} and {other.tokenize} cannot be added up")
        self.sums.update(other.sums)
        self.with_source += other.with_source
        for n, counts in other.ngrams.items():
            self.ngrams[n].update(counts)
        for name, scores in other.scores.items():
            self.scores[name] += scores
        return self

    def result(self) -> Dict[str, float]:
        """Figures by name, and ``replies`` and ``empty``; embedding metrics and copy rates if they were asked for.

        Raises:
            ValueError: vectors or sources were given for some of the replies only, or there are no replies.
        """
        replies = self.sums["replies"]
        if not replies:
            raise ValueError("no replies to measure")
        scored = len(self.scores[EMBEDDING[0]])
        if not {scored, self.with_source} <= {0, replies}:
            raise ValueError(f"of {replies} replies {scored} have vectors and {self.with_source} have a source")
        figures: Dict[str, float] = {}
        if scored:
            # fsum is correctly rounded: the order of the workers does not matter
            figures.update({name: math.fsum(scores) / replies for name, scores in self.scores.items()})
        for n in DISTINCT:
            figures[f"dist_{n}"] = len(self.ngrams[n]) / max(self.sums[f"ngrams_{n}"], 1)
        figures[f"ent_{ENTROPY}"] = entropy(self.ngrams[ENTROPY].values())
        figures.update({name: float(value) for name, value in figures_of_sums(self.sums).items()})
        return {"replies": replies, "empty": self.sums["empty"], **figures}
