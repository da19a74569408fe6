"""The text metrics of several systems side by side, with bootstrap intervals and tests."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.replies import COPIED, DISTINCT, EMBEDDING, ENTROPY
from fairseq_ami.metrics.significance import holm
from fairseq_ami.metrics.word_vectors import WordVectors
from fairseq_ami.tools.replies.randomisation import randomised, sacrebleu_test
from fairseq_ami.tools.replies.resampling import EAD, POOLED, System, Texts, resampled

# Replies of one system by the seed of its training; None is the key of one run whose seed nobody told.
Runs = Mapping[Optional[int], Sequence[str]]

Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # as in fairseq_ami.types, which needs torch

_DIVERSITY = (*(f"dist_{n}" for n in DISTINCT), EAD, f"ent_{ENTROPY}")
_ORDER = (
    *EMBEDDING, *_DIVERSITY, "bleu", "chrf", "ter", "length", "repetition", *(f"copy_{n}" for n in COPIED)
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval over resampled sets of replies, and its standard deviation over seeds.

    Of several seeds the figure is the mean. What was not asked for is None.
    """

    value: float
    low: Optional[float] = None
    high: Optional[float] = None
    deviation: Optional[float] = None


@dataclass(frozen=True)
class SystemReport:
    """Of one system.

    Attributes:
        seeds: of its runs.
        empty: replies without a word, of all runs together.
        unknown: replies without a word that has a vector, the empty ones among them; None without vectors.
        words: different words, the largest number of a run. EAD means little if they outnumber its vocabulary.
        figures: by the names of :mod:`fairseq_ami.metrics.replies`, and ``ead``, ``chrf``, ``ter``.
        by_seed: the same figures of each run, in the order of the seeds.
        gains: figures minus those of the first system, paired; empty for the first system itself.
        p: two-sided p-values of the gains by paired approximate randomisation; empty without a test.
        p_holm: the same, adjusted by Holm's method for all systems of the comparison.
    """

    seeds: List[Optional[int]]
    empty: int
    unknown: Optional[int]
    words: int
    figures: Dict[str, Estimate]
    by_seed: Dict[str, List[float]]
    gains: Dict[str, Estimate]
    p: Dict[str, float]
    p_holm: Dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Of all systems on the same references.

    Attributes:
        replies: how many of each run; Dist-n and Ent-4 depend on it.
        unknown_references: references without a word that has a vector: every reply to them scores 0.
        vectors: name of the word vectors.
        vocabulary: V of the expectation-adjusted distinct.
        signatures: sacreBLEU's, by metric.
        draws, trials, seed: of the bootstrap, of the test, and of the random numbers of both.
        systems: by name, in the order given.
    """

    replies: int
    unknown_references: Optional[int]
    vectors: Optional[str]
    vocabulary: int
    signatures: Dict[str, str]
    draws: int
    trials: int
    seed: int
    systems: Dict[str, SystemReport]

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    systems: Mapping[str, Runs],
    references: Sequence[str],
    sources: Optional[Sequence[str]] = None,
    vectors: Optional[WordVectors] = None,
    draws: int = 1000,
    seed: int = 1,
    tokenize: str = "13a",
    metrics: Sequence[str] = ("bleu",),
    vocabulary: Optional[int] = None,
    trials: int = 0,
    progress: Progress = lambda items, what: items,
) -> Comparison:
    """Measure all *systems* on the same resampled sets of replies, and test each one against the first.

    The interval of a figure lies between the 2.5 and 97.5 percentiles of its resampled values. Resampled replies repeat
    one another, which lowers Dist-n, EAD and Ent-n: there the percentiles are moved by what the mean of the resampled
    values lies below the figure. For Dist-n that is rough: on 1000 replies of real dialogue the width was 0.86 (Dist-1)
    and 1.65 (Dist-2) times that of fresh samples, and 1.05 times for Ent-4.

    Several seeds of a system are one row: mean and standard deviation over the seeds. The test pairs runs of one seed
    and exchanges replies within each pair. sacreBLEU's metrics are tested on the runs' texts one after the other.

    Args:
        systems: name -> seed -> replies, one text each.
        references: one text a reply.
        sources: what is replied to, for the copy rates.
        vectors: for the embedding metrics.
        draws: resampled sets; 0: no intervals.
        seed: of the draws and of the test. sacreBLEU's test has its own, the environment's SACREBLEU_SEED.
        tokenize: BLEU's tokenizer.
        metrics: sacreBLEU's, of :data:`fairseq_ami.choices.CORPUS_METRICS`; BLEU is always measured.
        vocabulary: V of the expectation-adjusted distinct; None takes the different words of the references.
        trials: of the approximate randomisation; 0: no test.
        progress: called with parts of the work and what is done, returns the parts; for progress bars.

    Raises:
        ValueError: no systems or no references, or sides of different numbers of texts.
        AMIError: a test between systems of different seeds.
    """
    sides = [*(texts for runs in systems.values() for texts in runs.values()), *([] if sources is None else [sources])]
    if not systems or not references or any(len(texts) != len(references) for texts in sides):
        raise ValueError(f"{len(references)} references for texts of lengths {[len(texts) for texts in sides]}")
    systems = {name: _by_seed(runs) for name, runs in systems.items()}
    if trials:
        _check_seeds(systems)
    words = len({word for text in references for word in text.split()})
    texts = Texts(references, sources, vectors, vocabulary or max(words, 1), metrics, tokenize)
    measured = {
        name: [System(replies, texts) for replies in progress(list(runs.values()), f"{name}: figures")]
        for name, runs in systems.items()
    }
    reports = _reports({name: list(runs) for name, runs in systems.items()}, measured, draws, seed, progress)
    signatures, p_values = _test(systems, measured, texts, trials, seed, progress)
    return Comparison(
        len(references),
        None if vectors is None else sum(not vectors.rows(text) for text in texts.references),
        None if vectors is None else vectors.name,
        texts.vocabulary,
        signatures,
        draws,
        trials,
        seed,
        _with_p_values(reports, p_values),
    )


def _by_seed(runs: Runs) -> Dict[Optional[int], Sequence[str]]:
    """In rising order of the seeds, so that runs of one seed stand at one place."""
    return {seed: runs[seed] for seed in sorted(runs, key=lambda seed: (seed is not None, seed))}


def _check_seeds(systems: Mapping[str, Runs]) -> None:
    (first, runs), *others = systems.items()
    for name, other in others:
        if list(other) != list(runs):
            ours, theirs = (
                " ".join("without" if seed is None else str(seed) for seed in found) for found in (other, runs)
            )
            raise AMIError(
                f"seeds of {name}: {ours}; of {first}: {theirs}. The test pairs runs of one seed: give both systems "
                "the same seeds, or pass --trials 0"
            )


def _reports(
    seeds: Mapping[str, List[Optional[int]]],
    measured: Mapping[str, Sequence[System]],
    draws: int,
    seed: int,
    progress: Progress,
) -> Dict[str, SystemReport]:
    """Figures and gains, without tests."""
    reports: Dict[str, SystemReport] = {}
    first: Dict[str, np.ndarray] = {}
    for name, systems in measured.items():
        runs = resampled(systems, draws, seed, lambda parts: progress(parts, f"{name}: bootstrap"))
        means = {key: np.mean([run[key] for run in runs], axis=0) for key in _ORDER if key in runs[0]}
        by_seed = {key: [float(run[key][0]) for run in runs] for key in means}
        gains = {key: _estimate(key, values - first[key]) for key, values in means.items()} if first else {}
        first = first or means
        figures = {key: _estimate(key, values, by_seed[key]) for key, values in means.items()}
        unknown = None if systems[0].unknown is None else sum(system.unknown for system in systems)
        empty = sum(system.empty for system in systems)
        words = max(system.words for system in systems)
        reports[name] = SystemReport(seeds[name], empty, unknown, words, figures, by_seed, gains, {}, {})
    return reports


def _estimate(name: str, values: np.ndarray, by_seed: Sequence[float] = ()) -> Estimate:
    """*values*: the figure, then its resampled values."""
    value, drawn = float(values[0]), values[1:]
    deviation = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
    if not len(drawn):
        return Estimate(value, deviation=deviation)
    if name in POOLED:
        drawn = drawn + (value - drawn.mean())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, float(low), float(high), deviation)


def _test(
    systems: Mapping[str, Runs],
    measured: Mapping[str, Sequence[System]],
    texts: Texts,
    trials: int,
    seed: int,
    progress: Progress,
) -> Tuple[Dict[str, str], Dict[str, Dict[str, float]]]:
    """sacreBLEU's signatures, and the p-values by system and figure of all but the first."""
    joined = {name: [text for replies in runs.values() for text in replies] for name, runs in systems.items()}
    runs_each = len(next(iter(systems.values()))) if trials else 1
    if not trials:
        joined = dict(list(joined.items())[:1])
    signatures, p_values = sacrebleu_test(
        joined, texts.texts * runs_each, progress(["bleu", *texts.metrics], "sacreBLEU"), texts.tokenize, trials
    )
    (_, first), *others = measured.items()
    for name, runs in others if trials else ():
        p_values[name].update(randomised(first, runs, trials, seed, lambda parts: progress(parts, f"{name}: test")))
    return signatures, p_values


def _with_p_values(
    reports: Mapping[str, SystemReport], p_values: Mapping[str, Mapping[str, float]]
) -> Dict[str, SystemReport]:
    """The reports with p-values, and with those that are adjusted for the number of systems, figure by figure."""
    adjusted: Dict[str, Dict[str, float]] = {name: {} for name in p_values}
    figures = [key for key in _ORDER if p_values and key in next(iter(p_values.values()))]
    for key in figures:
        for name, value in zip(p_values, holm([found[key] for found in p_values.values()])):
            adjusted[name][key] = value
    return {
        name: replace(report, p={key: p_values[name][key] for key in figures}, p_holm=adjusted[name])
        if name in p_values
        else report
        for name, report in reports.items()
    }
