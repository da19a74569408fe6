"""Paired approximate randomisation of every figure of two systems' replies.

A trial throws a coin for each reply, and the two systems exchange the replies whose coin says so. If the systems do
not differ, the observed difference is one of many that such exchanges give. Dist-n, EAD and Ent-n are counted anew
over each exchanged set.

BLEU, chrF and TER are left to sacreBLEU's own test.
"""

from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, Tuple

import numpy as np
from sacrebleu.significance import PairedTest
from scipy import sparse

from fairseq_ami.metrics.corpus import new_corpus_metric
from fairseq_ami.metrics.replies import DISTINCT, EMBEDDING, ENTROPY, plain_ratios
from fairseq_ami.metrics.significance import p_value, swaps
from fairseq_ami.tools.replies.resampling import System, count_products, entropies_of, pooled_figures

Figures = Dict[str, np.ndarray]
Both = Tuple[np.ndarray, np.ndarray]  # of the two systems after a trial's exchanges

_ROUNDING = 1e-12  # relative: the same sums in another order


def randomised(
    first: Sequence[System],
    other: Sequence[System],
    trials: int,
    seed: int,
    progress: Callable[[range], Iterable[int]] = lambda starts: starts,
) -> Dict[str, float]:
    """Two-sided p-values of the differences, by the names of the figures.

    The statistic is the difference between the means over the runs. Coins are thrown for each reply of each run.

    Args:
        first, other: runs of the two systems; those at one place belong together.
        trials: how often all coins are thrown.
        seed: of the coins.
        progress: called for each run with the starts of its parts, returns them; for a progress bar.
    """
    drawn: Dict[str, List[np.ndarray]] = {}  # by run, each of shape (trials,)
    observed: Dict[str, float] = {}
    rounding: Dict[str, float] = {}
    for number, systems in enumerate(zip(first, other)):
        pair = Exchange(*systems)
        one, two = pair.figures(np.ones((1, pair.replies), dtype=bool))
        for name, values in one.items():
            observed[name] = observed.get(name, 0.0) + float(two[name][0] - values[0])
            rounding[name] = rounding.get(name, 0.0) + _ROUNDING * float(abs(two[name][0]) + abs(values[0]))
        # summed over the runs: a constant factor changes no p-value
        parts = [pair.figures(kept) for kept in swaps(pair.replies, trials, (seed, number), progress)]
        for name in one:
            drawn.setdefault(name, []).append(np.concatenate([b[name] - a[name] for a, b in parts]))
    return {name: p_value(observed[name], np.sum(runs, axis=0), rounding[name]) for name, runs in drawn.items()}


class Exchange:
    """Figures of two systems after any exchange of replies with one another.

    Args:
        first, other: measured against the same texts.
    """

    def __init__(self, first: System, other: System):
        self.first, self.other, self.replies = first, other, len(first.counts)
        self.pooled = {n: _Pooled(first.ngrams[n], other.ngrams[n]) for n in first.ngrams}

    def figures(self, kept: np.ndarray) -> Tuple[Figures, Figures]:
        """Of both systems; name -> shape (trials,).

        Args:
            kept: booleans of shape (trials, replies), False where the two exchange a reply.
        """
        coins = kept.astype(np.float64)
        sums = [self.first.named(part) for part in _exchanged(coins, self.first.counts, self.other.counts)]
        found: Tuple[Figures, Figures] = (plain_ratios(sums[0]), plain_ratios(sums[1]))
        if self.first.scores is not None:
            scores = _exchanged(coins, self.first.scores.T, self.other.scores.T)
            for figures, part in zip(found, scores):
                figures.update(zip(EMBEDDING, part.T / self.replies))
        counted = {n: pooled.exchanged(kept.T) for n, pooled in self.pooled.items()}
        for side, figures in enumerate(found):
            distinct = {n: counted[n][0][side] for n in DISTINCT}
            entropies = entropies_of(counted[ENTROPY][1][side], sums[side][f"ngrams_{ENTROPY}"])
            figures.update(pooled_figures(sums[side], distinct, entropies, self.first.texts.vocabulary))
        return found


def _exchanged(coins: np.ndarray, first: np.ndarray, other: np.ndarray) -> Both:
    """Sums over replies after the exchanges, shape (trials, columns); *first* and *other*: (replies, columns)."""
    one = coins @ (first - other) + other.sum(axis=0)
    return one, first.sum(axis=0) + other.sum(axis=0) - one


class _Pooled:
    """Counts of n-grams after exchanges. Only those n-grams that an exchange can move are counted again.

    Args:
        first, other: sparse, of shape (n-grams, replies); one may have fewer rows.
    """

    def __init__(self, first: sparse.csr_array, other: sparse.csr_array):
        rows = max(first.shape[0], other.shape[0])
        first, other = (_with_rows(table, rows) for table in (first, other))
        moved = (first - other).tocsr()
        moved.eliminate_zeros()
        totals, theirs = np.asarray((first + other).sum(axis=1)), np.asarray(other.sum(axis=1))
        moves = np.diff(moved.indptr) > 0
        once = moves & (totals == 1)  # in one of the two systems, wherever it goes: nothing to look up
        self.once = [np.asarray(table[once].sum(axis=0)) for table in (first, other)]  # by reply
        still = theirs[~moves & (totals > 0)]
        self.still = len(still), float(count_products(still[:, None])[0])
        again = moves & ~once
        self.moved, self.base, self.totals = moved[again], theirs[again, None], totals[again, None]

    def exchanged(self, kept: np.ndarray) -> Tuple[Both, Both]:
        """Different n-grams, and sums of count * log(count), of both systems; each of shape (trials,).

        Args:
            kept: booleans of shape (replies, trials).
        """
        coins = kept.astype(np.int64)
        ours = self.base + self.moved @ coins
        counts = ours, self.totals - ours
        alone = [at @ coins + against @ (1 - coins) for at, against in (self.once, self.once[::-1])]
        one, two = (self.still[0] + np.count_nonzero(c, axis=0) + a for c, a in zip(counts, alone))
        products = [self.still[1] + count_products(c) for c in counts]
        return (one, two), (products[0], products[1])


def _with_rows(table: sparse.csr_array, rows: int) -> sparse.csr_array:
    table = table.copy()
    table.resize((rows, table.shape[1]))
    return table


def sacrebleu_test(
    systems: Mapping[str, Sequence[str]], references: Sequence[str], metrics: Iterable[str], tokenize: str, trials: int
) -> Tuple[Dict[str, str], Dict[str, Dict[str, float]]]:
    """sacreBLEU's paired approximate randomisation of each system against the first one.

    Args:
        systems: name -> outputs, the first one in front.
        references: one text an output.
        metrics: of :data:`fairseq_ami.choices.CORPUS_METRICS`.
        tokenize: BLEU's tokenizer.
        trials: 0: no test, signatures only.

    Returns:
        Signatures by metric, and by system its p-values by metric. A system whose score equals the first one's gets a p
        of 1: sacreBLEU counts larger differences only, and would call it different.
    """
    if len(systems) < 2 or not trials:
        found = {name: new_corpus_metric(name, tokenize) for name in metrics}
        for metric in found.values():  # the signature tells the number of references after a score only
            metric.corpus_score(list(references), [list(references)])
        return {name: str(metric.get_signature()) for name, metric in found.items()}, {}
    p_values: Dict[str, Dict[str, float]] = {name: {} for name in list(systems)[1:]}
    signatures: Dict[str, str] = {}
    for metric_name in metrics:
        fresh = {metric_name: new_corpus_metric(metric_name, tokenize)}
        named = list(systems.items())
        told: Any
        results: Any
        told, results = PairedTest(named, fresh, [references], test_type="ar", n_samples=trials)()
        ((title, signature),) = told.items()
        signatures[metric_name] = str(signature)
        baseline, *others = results[title]
        for name, result in zip(p_values, others):
            p_values[name][metric_name] = 1.0 if result.score == baseline.score else result.p_value
    return signatures, p_values
