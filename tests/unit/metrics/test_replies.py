"""The figures of whole systems: by hand, over several workers, and their bootstrap."""

import math
import pickle
import random
import re
import runpy
import sys
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import sacrebleu
import scipy.stats
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.diversity import count_ngrams, distinct_n, entropy
from fairseq_ami.metrics.replies import ReplyStatistics
from fairseq_ami.metrics.word_vectors import WordVectors
from fairseq_ami.tools.replies import resampling
from fairseq_ami.tools.replies.comparison import compare as compare_runs
from fairseq_ami.tools.replies.resampling import System, Texts, draw_times, ngram_matrix

VECTORS = WordVectors({"x": 0, "y": 1}, np.eye(2), "by hand")
WORDS = [f"w{number}" for number in range(30)]
RANDOM_VECTORS = WordVectors(
    {word: row for row, word in enumerate(WORDS)}, np.random.default_rng(3).normal(size=(30, 5)), "random"
)

# Reply, reference, source. By hand: words 6 + 1 + 0 + 2 = 9 over 4 replies, of which x x x x y x x x z: 3 distinct;
# pairs: xx xx xx xy yx | | | xz: 4 of 6 distinct; 4-grams: xxxx xxxy xxyx, none repeated.
ROWS = [("x x x x y x", "x", "x y z"), ("x", "y", "q"), ("", "x", "x"), ("x z", "x z", "z x z")]
EXPECTED = {
    "replies": 4,
    "empty": 1,
    "average": (5 / 26**0.5 + 0 + 0 + 1) / 4,
    "greedy": ((5 / 6 + 1) / 2 + 0 + 0 + 1) / 4,
    "extrema": (1 / 2**0.5 + 0 + 0 + 1) / 4,
    "dist_1": 3 / 9,
    "dist_2": 4 / 6,
    "ent_4": math.log(3),
    "length": 9 / 4,
    "repetition": 0.0,
    "copy_1": (6 + 0 + 0 + 2) / 9,
    "copy_2": (1 + 0 + 0 + 1) / 6,  # xy; xz
}


def compare(systems, *args, **options):
    """Of systems with one run each."""
    return compare_runs({name: {None: texts} for name, texts in systems.items()}, *args, **options)


def random_texts(seed, count, longest=12):
    draw = random.Random(seed)
    weights = [1 / rank for rank in range(1, len(WORDS) + 1)]
    return [" ".join(draw.choices(WORDS, weights, k=draw.randint(0, longest))) for _ in range(count)]


def gathered(rows, vectors=RANDOM_VECTORS):
    statistics = ReplyStatistics()
    for reply, reference, source in rows:
        statistics.add(reply.split(), reference.split(), source.split(), vectors)
    return statistics


@pytest.fixture(scope="module")
def rows():
    return list(zip(*(random_texts(seed, 60) for seed in range(3))))


def values(report):
    return {name: estimate.value for name, estimate in report.figures.items()}


# ---------------------------------------------------------------------- figures


def test_statistics_by_hand():
    found = gathered(ROWS, VECTORS).result()
    found.pop("bleu")
    assert found == pytest.approx(EXPECTED, abs=1e-15)


def test_repetition_is_pooled():
    statistics = ReplyStatistics()
    statistics.add("a b a b a b".split(), ["a"])  # abab baba abab: 1 of 3
    statistics.add("a b c d e f g".split(), ["a"])  # 0 of 4
    assert statistics.result()["repetition"] == 1 / 7


def test_bleu_is_sacrebleus(rows):
    replies, references, _ = zip(*rows)
    expected = sacrebleu.corpus_bleu(replies, [references], force=True).score
    assert gathered(rows).result()["bleu"] == pytest.approx(expected, rel=1e-12)
    assert compare({"a": replies}, references, draws=0).systems["a"].figures["bleu"].value == pytest.approx(expected)


def test_compare_agrees_with_the_statistics_and_the_plain_functions(rows):
    replies, references, sources = zip(*rows)
    found = compare({"a": replies}, references, sources, RANDOM_VECTORS, draws=0).systems["a"]
    expected = gathered(rows).result()
    figures = values(found)
    words, vocabulary = " ".join(replies).split(), len(set(" ".join(references).split()))
    ead = len(set(words)) / (vocabulary * (1 - ((vocabulary - 1) / vocabulary) ** len(words)))
    assert figures.pop("ead") == pytest.approx(ead, rel=1e-12)
    assert figures == pytest.approx({name: expected[name] for name in figures}, rel=1e-12)
    assert set(expected) == {"replies", "empty", *figures}
    assert found.empty == expected["empty"] == sum(not text for text in replies)
    assert found.figures["dist_2"].value == distinct_n(replies, 2)
    assert found.figures["ent_4"].value == pytest.approx(entropy(count_ngrams(replies, 4).values()), rel=1e-12)


def test_what_is_not_asked_for_is_absent():
    statistics = ReplyStatistics()
    statistics.add(["a"], ["b"])
    found = compare({"a": ["a"]}, ["b"], draws=0)
    assert set(statistics.result()) - {"replies", "empty"} == set(found.systems["a"].figures) - {"ead"}
    assert not {"average", "copy_1"} & set(found.systems["a"].figures)
    assert found.systems["a"].unknown is None and found.vectors is None


def test_empty_one_word_and_unknown_replies_only():
    found = compare({"empty": ["", ""], "one": ["x", "x"], "unknown": ["q", "q q"]}, ["x", "y"], ["x", ""], VECTORS, 20)
    for report in found.systems.values():
        assert all(np.isfinite([e.value, e.low, e.high]).all() for e in report.figures.values())
    assert [report.empty for report in found.systems.values()] == [2, 0, 0]
    assert [report.unknown for report in found.systems.values()] == [2, 0, 2]
    assert set(values(found.systems["empty"]).values()) == {0.0}
    one = values(found.systems["one"])
    assert (one["average"], one["dist_1"], one["dist_2"], one["ent_4"], one["copy_1"]) == (0.5, 0.5, 0, 0, 0.5)


# ---------------------------------------------------------------------- several workers


@pytest.mark.parametrize("cut", [0, 1, 23, 60])
def test_two_workers_equal_one_exactly(rows, cut):
    whole = gathered(rows).result()
    for parts in ((rows[:cut], rows[cut:]), (rows[cut:], rows[:cut]), (rows[::2], rows[1::2])):
        first, second = (pickle.loads(pickle.dumps(gathered(part))) for part in parts)
        assert first.merge(second).result() == whole


def test_what_cannot_be_merged():
    with pytest.raises(ValueError, match="13a and char"):
        ReplyStatistics().merge(ReplyStatistics("char"))
    with pytest.raises(ValueError, match="no replies"):
        ReplyStatistics().merge(ReplyStatistics()).result()
    for options in ({"source": ["a"]}, {"vectors": VECTORS}):
        statistics, other = ReplyStatistics(), ReplyStatistics()
        statistics.add(["a"], ["a"])
        other.add(["a"], ["a"], **options)
        with pytest.raises(ValueError, match="of 2 replies"):
            statistics.merge(other).result()


# ---------------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("at_once", [1, 50])
def test_every_draw_is_that_of_the_resampled_texts(rows, monkeypatch, at_once):
    """The resampled figures are those of a corpus in which the replies really stand several times."""
    monkeypatch.setattr(resampling, "DRAWS_AT_ONCE", at_once)
    times = np.concatenate(list(draw_times(len(rows), 3, seed=5)))
    assert times.shape == (3, len(rows)) and (times.sum(axis=1) == len(rows)).all()
    replies, references, sources = zip(*rows)
    found = System(replies, Texts(references, sources, RANDOM_VECTORS, 30, ["chrf", "ter"])).figures(times)
    for draw, counts in enumerate(times):
        drawn = [row for row, count in zip(rows, counts) for _ in range(count)]
        expected = gathered(drawn).result()
        texts, refs, _ = zip(*drawn)
        expected["chrf"] = sacrebleu.corpus_chrf(texts, [refs]).score
        expected["ter"] = sacrebleu.corpus_ter(texts, [refs]).score
        expected["ead"] = len(set(" ".join(texts).split())) / (30 * (1 - (29 / 30) ** len(" ".join(texts).split())))
        assert {name: column[draw] for name, column in found.items()} == pytest.approx(
            {name: expected[name] for name in found}, rel=1e-11
        )


def test_interval_of_a_mean_against_scipy_and_the_normal_one():
    replies = random_texts(7, 400)
    lengths = np.array([len(text.split()) for text in replies])
    found = compare({"a": replies}, replies, draws=2000, seed=3).systems["a"].figures["length"]
    stock = scipy.stats.bootstrap((lengths,), np.mean, n_resamples=2000, method="percentile", rng=0).confidence_interval
    error = lengths.std() / len(lengths) ** 0.5
    # the percentiles of 2000 draws have an error of about 0.06 standard errors
    assert (found.low, found.high) == pytest.approx((stock.low, stock.high), abs=0.25 * error)
    normal = lengths.mean() + error * scipy.stats.norm.ppf([0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(normal), abs=0.25 * error)


def test_intervals_of_pooled_figures_lie_around_them():
    replies = random_texts(7, 300)
    figures = compare({"a": replies}, replies, draws=200).systems["a"].figures
    for name in ("dist_1", "dist_2", "ent_4"):
        assert figures[name].low < figures[name].value < figures[name].high


def test_gains_are_paired_and_the_seed_decides():
    """A system that always says one word more: the interval of the gain has no width, unpaired it would."""
    first = random_texts(1, 50)
    systems = {"first": first, "longer": [f"{text} more".strip() for text in first]}
    found = compare(systems, first, draws=100)
    gain = found.systems["longer"].gains["length"]
    assert (gain.value, gain.low, gain.high) == pytest.approx((1, 1, 1))
    assert found.systems["longer"].figures["length"].high - found.systems["longer"].figures["length"].low > 0.5
    assert found.systems["first"].gains == {} and found.systems["first"].p == {}
    assert compare(systems, first, draws=100) == found
    assert compare(systems, first, draws=100, seed=2) != found


def test_p_value_is_sacrebleus():
    references, systems = random_texts(1, 80), {"one": random_texts(2, 80), "two": random_texts(3, 80)}
    metrics = {"BLEU": BLEU(force=True), "chrF": CHRF(), "TER": TER()}
    signatures, results = PairedTest(list(systems.items()), metrics, [references], "ar", n_samples=150)()
    found = compare(systems, references, draws=0, trials=150, metrics=["chrf", "ter"])
    assert list(found.signatures) == ["bleu", "chrf", "ter"]
    for name, title in {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}.items():
        assert found.systems["two"].p[name] == results[title][1].p_value
        assert found.signatures[name] == str(signatures[title]) and "ar:150" in found.signatures[name]
        assert found.systems["two"].figures[name].value == pytest.approx(results[title][1].score)
        assert found.systems["two"].p_holm[name] == found.systems["two"].p[name]  # a single comparison


def test_no_draws_no_intervals(rows):
    replies, references, _ = zip(*rows)
    found = compare({"a": replies, "b": references}, references, draws=0)
    assert found.systems["b"].p == {} == found.systems["b"].p_holm and found.systems["b"].gains["bleu"].low is None
    assert found.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")


# ---------------------------------------------------------------------- seeds and several systems


def test_several_seeds_are_one_row():
    """Mean and standard deviation over the seeds; the order in which runs are named does not matter."""
    references = random_texts(0, 40)
    runs = {seed: random_texts(seed, 40) for seed in (3, 1, 2)}
    first = {seed: random_texts(10 + seed, 40) for seed in (1, 2, 3)}
    found = compare_runs({"first": first, "a": runs}, references, draws=50, trials=40)
    report = found.systems["a"]
    assert report.seeds == [1, 2, 3]
    for name in ("bleu", "dist_2", "ent_4", "length", "ead"):
        single = [values(compare({"a": runs[seed]}, references, draws=0).systems["a"])[name] for seed in (1, 2, 3)]
        assert report.by_seed[name] == single
        assert report.figures[name].value == pytest.approx(mean(single), rel=1e-12)
        assert report.figures[name].deviation == pytest.approx(stdev(single), rel=1e-12)
        gain = report.figures[name].value - found.systems["first"].figures[name].value
        assert report.gains[name].value == pytest.approx(gain, rel=1e-12)
    joined = [("first", sum((first[seed] for seed in (1, 2, 3)), [])), ("a", sum((runs[s] for s in (1, 2, 3)), []))]
    _, results = PairedTest(joined, {"BLEU": BLEU(force=True)}, [references * 3], "ar", n_samples=40)()
    assert report.p["bleu"] == results["BLEU"][1].p_value
    assert compare_runs({"first": first, "a": dict(sorted(runs.items()))}, references, draws=50, trials=40) == found


def test_one_seed_has_no_deviation():
    found = compare_runs({"a": {7: ["x y"]}}, ["x"], draws=0).systems["a"]
    assert found.seeds == [7] and found.figures["bleu"].deviation is None


def test_each_figure_is_adjusted_for_all_systems():
    """Holm's method by hand, of two comparisons: twice the smaller p-value, and the larger one, never below it."""
    references = random_texts(1, 30)
    systems = {"base": random_texts(2, 30), "near": random_texts(2, 29) + ["w1 w2"], "far": random_texts(3, 30, 30)}
    found = compare(systems, references, draws=0, trials=100)
    near, far = found.systems["near"], found.systems["far"]
    assert set(near.p) == set(near.figures) == set(near.p_holm) and far.p["length"] == 1 / 101
    for name in near.p:
        low, high = sorted((near.p[name], far.p[name]))
        adjusted = [min(1, 2 * low), max(min(1, 2 * low), high)]
        assert sorted((near.p_holm[name], far.p_holm[name])) == pytest.approx(adjusted)


@pytest.mark.parametrize(
    "seeds, message",
    [((1, 4), "seeds of b: 1 4; of a: 1 2. The test pairs"), ((1,), "of b: 1; of a: 1 2"), ((None,), "of b: without")],
)
def test_runs_without_partners(seeds, message):
    systems = {"a": {1: ["x"], 2: ["y"]}, "b": {seed: ["x"] for seed in seeds}}
    with pytest.raises(AMIError, match=re.escape(message)):
        compare_runs(systems, ["x"], trials=10)
    assert compare_runs(systems, ["x"], draws=5).systems["b"].seeds == list(seeds)  # no test, no partners


def test_the_vocabulary_is_that_of_the_references_or_given():
    found = compare({"a": ["x y x"], "b": ["x y z"]}, ["x y"], draws=0)
    assert found.vocabulary == 2 and [report.words for report in found.systems.values()] == [2, 3]
    assert compare({"a": [""]}, [""], draws=0).vocabulary == 1
    ead = compare({"a": ["x y x"]}, ["x y"], draws=0, vocabulary=10).systems["a"].figures["ead"].value
    assert ead == pytest.approx(2 / (10 * (1 - 0.9**3)))


def test_ngram_matrix_by_hand():
    matrix = ngram_matrix(["a b a b".split(), [], "b a".split()], 2)
    assert matrix.toarray().tolist() == [[2, 0, 0], [1, 0, 1]]  # ab, ba
    assert ngram_matrix([[], ["a"]], 2).shape == (0, 2)


@pytest.mark.parametrize("systems, references", [({"a": ["x"]}, ["x", "y"]), ({}, ["x"]), ({"a": []}, [])])
def test_unequal_or_missing_texts(systems, references):
    with pytest.raises(ValueError, match="references"):
        compare(systems, references)


def test_the_benchmark_runs_and_finds_the_same_figures(monkeypatch, capsys):
    script = str(Path(__file__).resolve().parents[3] / "benchmarks" / "reply_metrics.py")
    monkeypatch.setattr(sys, "argv", [script, "--replies", "20", "--draws", "6", "--dimensions", "4"])
    monkeypatch.setattr(sys, "path", sys.path[:])
    runpy.run_path(script, run_name="__main__")
    assert "20 replies, 4 dimensions" in capsys.readouterr().out
