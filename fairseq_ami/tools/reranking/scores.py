"""Reranking n-best lists by mutual information: the MMI-bidi decoder of Li et al. (2016a).

A hypothesis T' of a source S is worth  forward(T') + lambda * backward(T') + gamma * length(T'):

==========  =======================================  ==================  =============
scores      forward                                  backward            length
==========  =======================================  ==================  =============
per-token   the search's: log P(T'|S) / |T'|^lenpen  log Q(S|T') / |S|   |T'| / |S|
sum         log P(T'|S)                              log Q(S|T')         |T'|
==========  =======================================  ==================  =============

Natural logarithms; |.| counts subwords and the end symbol. Scores are computed once, then any number of
(lambda, gamma) is compared by array arithmetic alone. In dialogue the S of log Q and |S| is the last utterance of the
history; the backward network reads the earlier ones before T', as in training.
"""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np
import torch
from fairseq.data import LanguagePairDataset, ListDataset
from fairseq.models import BaseFairseqModel
from fairseq.sequence_scorer import SequenceScorer
from fairseq.tasks.translation import TranslationTask
from omegaconf import DictConfig
from sacrebleu.metrics import BLEU
from sacrebleu.metrics.bleu import BLEUScore
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.reranking.nbest import Candidates, batches

IMPOSSIBLE = -1e30  # instead of -inf and nan, which no weight could bring back to order


# ---------------------------------------------------------------------- log Q(S|T')


def backward_log_probs(
    lists: Sequence[Candidates],
    task: TranslationTask,
    networks: Sequence[BaseFairseqModel],
    cfg: DictConfig,
    title: str,
) -> List[np.ndarray]:
    """log Q(S|T') of every hypothesis, summed over S and its end symbol; natural log.

    In dialogue Q reads the earlier history and T'; where both are too long for it, the oldest words are cut off.

    Args:
        lists: the n-best lists.
        task: the task of the backward direction: its source language is that of T'.
        networks: Q; the probabilities of several are averaged, as fairseq's ensembles do.
        cfg: fairseq's configuration, for the size of the batches.
        title: of the progress bar.

    Returns:
        One float64 array a list, shape (hypotheses,).

    Raises:
        AMIError: a hypothesis longer than the networks can read.
    """
    limit = int(min(task.max_positions()[0], *(network.max_positions()[0] for network in networks)))
    pairs = [(_read(entry, hyp.tokens, limit), entry.sought) for entry in lists for hyp in entry.hypotheses]
    scores = np.full(len(pairs), np.nan)
    scored = np.zeros(len(pairs), dtype=bool)
    scorer = SequenceScorer(task.target_dictionary)
    for batch in batches(task, _as_dataset(pairs, task), networks, cfg, title):
        for index, (result,) in zip(batch["id"].tolist(), scorer.generate(networks, batch)):
            scores[index] = float(result["positional_scores"].double().sum())
            scored[index] = True
    if not scored.all():
        length = len(pairs[int(np.argmin(scored))][0])
        raise AMIError(
            f"{int((~scored).sum())} hypotheses are longer than the backward network can read (the first has {length} "
            "symbols): lower --max-len-a or --max-len-b"
        )
    ends = np.cumsum([len(entry.hypotheses) for entry in lists])
    return np.split(scores, ends[:-1])


def _read(entry: Candidates, hypothesis: Tensor, limit: int) -> Tensor:
    """What the backward network reads: as much of the context as fits, oldest words first to go, and T'."""
    context = entry.source[: entry.context]
    return torch.cat([context[max(0, len(context) + len(hypothesis) - limit) :], hypothesis])


def _as_dataset(pairs: Sequence[Tuple[Tensor, Tensor]], task: TranslationTask) -> LanguagePairDataset:
    hypotheses, sources = zip(*pairs)
    sizes = [np.array([len(tokens) for tokens in side]) for side in (hypotheses, sources)]
    return LanguagePairDataset(
        ListDataset(hypotheses, sizes[0]),
        sizes[0],
        task.source_dictionary,
        ListDataset(sources, sizes[1]),
        sizes[1],
        task.target_dictionary,
        left_pad_source=task.cfg.left_pad_source,
        left_pad_target=task.cfg.left_pad_target,
        shuffle=False,
    )


# ---------------------------------------------------------------------- scores and choices


@dataclass(frozen=True)
class Features:
    """What the choice rests on; float64 arrays of shape (sources, longest list).

    Attributes:
        forward, backward, length: the three terms; forward is -inf where a list has ended.
    """

    forward: np.ndarray
    backward: np.ndarray
    length: np.ndarray

    def choose(self, weight: float, length_weight: float) -> np.ndarray:
        """Index of the best hypothesis of each source, shape (sources,); the first of equals wins."""
        return self.choose_each(np.array([weight]), length_weight)[0]

    def choose_each(self, weights: np.ndarray, length_weight: float) -> np.ndarray:
        """The same for many lambdas, shape (lambdas, sources)."""
        fixed = self.forward + length_weight * self.length
        return (fixed + weights[:, None, None] * self.backward).argmax(axis=2)


def features(lists: Sequence[Candidates], backward: Sequence[np.ndarray], scores: str = "per-token") -> Features:
    """The terms of every hypothesis. One whose score is not a finite number is never chosen over others.

    Args:
        lists: the n-best lists.
        backward: log Q(S|T'), as :func:`backward_log_probs` gives it.
        scores: ``per-token`` or ``sum``.

    Raises:
        AMIError: ``sum`` with hypotheses whose log P(T'|S) is not known.
    """
    shape = (len(lists), max(len(entry.hypotheses) for entry in lists))
    forward, back, length = np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape)
    for row, (entry, log_q) in enumerate(zip(lists, backward)):
        size = len(entry.sought) if scores == "per-token" else 1
        for column, hypothesis in enumerate(entry.hypotheses):
            score = hypothesis.score if scores == "per-token" else hypothesis.log_prob
            if score is None:
                raise AMIError("--scores sum needs the P- lines of fairseq-generate in the n-best file")
            finite = np.isfinite(score) and np.isfinite(log_q[column])
            forward[row, column] = score if finite else IMPOSSIBLE
            back[row, column] = log_q[column] / size if finite else 0.0
            length[row, column] = len(hypothesis.tokens) / size
    return Features(forward, back, length)


# ---------------------------------------------------------------------- BLEU and tuning


@dataclass(frozen=True)
class BleuCounts:
    """BLEU's sufficient statistics of every hypothesis, so that each text is compared only once.

    Attributes:
        counts: length, reference length, matches and totals of 1- to 4-grams; integers of shape
            (sources, longest list, 10).
        signature: sacreBLEU's.
    """

    counts: np.ndarray
    signature: str

    def bleu(self, choice: np.ndarray) -> BLEUScore:
        """sacreBLEU's corpus score when source i gets hypothesis choice[i]."""
        return _bleu(self._chosen(choice).sum(axis=0))

    def of_sentences(self) -> np.ndarray:
        """sacreBLEU's sentence score (effective order) of every hypothesis, shape (sources, longest list)."""
        flat = [
            BLEU.compute_bleu(c[2:6], c[6:], c[0], c[1], smooth_method="exp", effective_order=True).score
            for c in self.counts.reshape(-1, 10).tolist()
        ]
        return np.array(flat).reshape(self.counts.shape[:2])

    def gain_interval(self, before: np.ndarray, after: np.ndarray, draws: int = 1000) -> Tuple[float, float]:
        """95 % interval of BLEU(after) - BLEU(before): paired bootstrap over sentences, always the same draws.

        Args:
            before, after: two choices, shape (sources,).
            draws: resampled corpora.
        """
        size = len(before)
        times = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), size=draws)
        first, second = times @ self._chosen(before), times @ self._chosen(after)
        gains = [_bleu(two).score - _bleu(one).score for one, two in zip(first, second)]
        low, high = np.percentile(gains, [2.5, 97.5])
        return float(low), float(high)

    def _chosen(self, choice: np.ndarray) -> np.ndarray:
        return self.counts[np.arange(len(choice)), choice]


def _bleu(counts: np.ndarray) -> BLEUScore:
    total = counts.tolist()
    return BLEU.compute_bleu(total[2:6], total[6:], total[0], total[1], smooth_method="exp")


def bleu_counts(lists: Sequence[Candidates], tokenize: str = "13a") -> BleuCounts:
    """Compare every hypothesis with its reference.

    Raises:
        AMIError: data without references.
    """
    references = [entry.reference for entry in lists if entry.reference is not None]
    if len(references) < len(lists):
        raise AMIError("BLEU needs references: binarise the data with both languages")
    return counts_of_texts([[hyp.text for hyp in entry.hypotheses] for entry in lists], references, tokenize)


def counts_of_texts(rows: Sequence[Sequence[str]], references: Sequence[str], tokenize: str) -> BleuCounts:
    """BLEU's counts of texts: those of a row are compared with the reference of the row."""
    metric = BLEU(tokenize=tokenize, force=True)
    counts = np.zeros((len(rows), max(map(len, rows)), 10), dtype=np.int64)
    for row, (texts, reference) in enumerate(zip(rows, references)):
        for column, text in enumerate(texts):
            score = metric.corpus_score([text], [[reference]])
            counts[row, column] = [score.sys_len, score.ref_len, *score.counts, *score.totals]
    return BleuCounts(counts, str(metric.get_signature()))


@dataclass(frozen=True)
class Tuned:
    """The winner of a grid search.

    Attributes:
        weight, length_weight: lambda and gamma.
        bleu: its corpus BLEU.
        grid: (lambda, gamma, BLEU) of all settings, in the order of the grid.
    """

    weight: float
    length_weight: float
    bleu: float
    grid: Tuple[Tuple[float, float, float], ...]


def tune(found: Features, counts: BleuCounts, weights: Sequence[float], length_weights: Sequence[float]) -> Tuned:
    """The lambda and gamma of the highest BLEU; of equals the smallest gamma, then the smallest lambda.

    Size counts before sign, and of opposite numbers the positive one wins: the choice is always the same.
    """
    grid = []
    for gamma in length_weights:
        choices = found.choose_each(np.asarray(weights, dtype=float), gamma)
        grid += [(lam, gamma, counts.bleu(choice).score) for lam, choice in zip(weights, choices)]
    best = min(grid, key=lambda row: (-row[2], abs(row[1]), abs(row[0]), -row[1], -row[0]))
    return Tuned(*best, tuple(grid))


def picked(lists: Sequence[Candidates], choice: np.ndarray) -> List[str]:
    """The chosen texts, in data order."""
    return [entry.hypotheses[index].text for entry, index in zip(lists, choice)]
