"""Approximate randomisation against all exchanges of a few replies, and sacreBLEU's test against its own command."""

import itertools
import json
import random
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu

from fairseq_ami.metrics.replies import ReplyStatistics
from fairseq_ami.metrics.word_vectors import WordVectors
from fairseq_ami.tools.replies.randomisation import Exchange, randomised, sacrebleu_test
from fairseq_ami.tools.replies.resampling import System, Texts

WORDS = [f"w{number}" for number in range(8)]
VECTORS = WordVectors({word: row for row, word in enumerate(WORDS)}, np.random.default_rng(3).normal(size=(8, 3)), "v")
FIGURES = "average greedy extrema dist_1 dist_2 ent_4 length repetition copy_1 copy_2".split()  # of ReplyStatistics


def random_texts(seed, count, longest=9):
    draw, weights = random.Random(seed), [1 / rank for rank in range(1, 9)]
    return [" ".join(draw.choices(WORDS, weights, k=draw.randint(0, longest))) for _ in range(count)]


def plain(replies, references, sources, vocabulary):
    """Figures of texts, each counted anew."""
    statistics = ReplyStatistics()
    for reply, reference, source in zip(replies, references, sources):
        statistics.add(reply.split(), reference.split(), source.split(), VECTORS)
    found = {name: value for name, value in statistics.result().items() if name in FIGURES}
    words = " ".join(replies).split()
    found["ead"] = len(set(words)) / (vocabulary * (1 - (1 - 1 / vocabulary) ** len(words))) if words else 0.0
    return found


def exchanged(first, other, kept):
    """Both systems' replies after an exchange."""
    pairs = [(a, b) if keep else (b, a) for a, b, keep in zip(first, other, kept)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def systems(seed, count):
    """Two systems, what they are measured against, and their measurements.

    They share their first reply, whose repeated 4-gram no exchange moves. One system's second reply is empty.
    """
    references, sources = random_texts(seed, count), random_texts(seed + 1, count)
    first, other = random_texts(seed + 2, count), random_texts(seed + 3, count)
    first[0] = other[0] = "w7 w6 w7 w6 w7 w6 w7"
    other[1] = ""
    texts = Texts(references, sources, VECTORS, 8)
    return first, other, references, sources, System(first, texts), System(other, texts)


@pytest.mark.parametrize("seed", [0, 10, 20])
def test_figures_after_every_exchange(seed):
    first, other, references, sources, *measured = systems(seed, 6)
    masks = np.array(list(itertools.product([True, False], repeat=6)))
    found = Exchange(*measured).figures(masks)
    for trial, kept in enumerate(masks):
        for side, texts in enumerate(exchanged(first, other, kept)):
            expected = plain(texts, references, sources, 8)
            assert {name: values[trial] for name, values in found[side].items()} == pytest.approx(expected, abs=1e-12)


def test_p_values_against_all_exchanges():
    """All 2^7; 4000 trials have a standard deviation of at most 0.008."""
    first, other, references, sources, *measured = systems(30, 7)
    differences = []
    for kept in itertools.product([True, False], repeat=7):
        one, two = (plain(texts, references, sources, 8) for texts in exchanged(first, other, kept))
        differences.append({name: two[name] - one[name] for name in one})
    found = randomised([measured[0]], [measured[1]], 4000, 5)
    assert set(found) == {*FIGURES, "ead"}
    for name, value in found.items():
        drawn = np.abs([difference[name] for difference in differences])
        assert value == pytest.approx(np.mean(drawn >= drawn[0] - 1e-12), abs=0.035), name
    assert len({round(value, 2) for value in found.values()}) > 3  # not all alike, which anything would pass


def test_runs_of_several_seeds_are_exchanged_one_by_one():
    """Two runs of four replies: all 2^8 exchanges, and the mean over the runs of figures of pooled words."""
    runs = [systems(seed, 4) for seed in (40, 50)]
    by_run = []
    for first, other, references, sources, *_ in runs:
        rows = []
        for kept in itertools.product([True, False], repeat=4):
            one, two = (plain(texts, references, sources, 8) for texts in exchanged(first, other, kept))
            rows.append({name: two[name] - one[name] for name in one})
        by_run.append(rows)
    found = randomised([run[4] for run in runs], [run[5] for run in runs], 4000, 5)
    for name, value in found.items():
        drawn = np.abs([a[name] + b[name] for a in by_run[0] for b in by_run[1]])
        assert value == pytest.approx(np.mean(drawn >= drawn[0] - 1e-12), abs=0.035), name


def test_the_seed_decides():
    *_, first, other = systems(30, 7)
    assert randomised([first], [other], 100, 5) == randomised([first], [other], 100, 5)
    assert randomised([first], [other], 100, 5) != randomised([first], [other], 100, 6)


def test_equal_systems_do_not_differ():
    """Also where sacreBLEU, which counts larger differences only, would say 1 / (trials + 1)."""
    first, *_, measured, _ = systems(60, 9)
    assert set(randomised([measured], [measured], 50, 1).values()) == {1.0}
    _, found = sacrebleu_test({"a": first, "b": list(first)}, first, ["bleu", "chrf", "ter"], "13a", 50)
    assert found == {"b": {"bleu": 1.0, "chrf": 1.0, "ter": 1.0}}


def test_sacrebleus_test_is_that_of_its_command(tmp_path):
    texts = {name: [f"{text} ." for text in random_texts(seed, 30)] for seed, name in enumerate(("ref", "a", "b", "c"))}
    for name, lines in texts.items():
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    files = [str(tmp_path / name) for name in texts]
    argv = [sys.executable, "-m", "sacrebleu", files[0], "-i", *files[1:], "-m", "bleu", "chrf", "ter", "--paired-ar"]
    argv += ["--paired-ar-n", "200", "-f", "json", "-tok", "char", "--force"]
    printed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    rows = {row["system"].split("/")[-1]: row for row in json.loads(printed)}
    names = ["bleu", "chrf", "ter"]
    signatures, found = sacrebleu_test({name: texts[name] for name in "abc"}, texts["ref"], names, "char", 200)
    assert set(found) == {"b", "c"} and "tok:char" in signatures["bleu"] and "ar:200" in signatures["ter"]
    titles = {"bleu": "BLEU", "chrf": "chrF2", "ter": "TER"}
    for name in found:
        row = next(row for title, row in rows.items() if title.endswith(name))
        for metric, title in titles.items():
            assert found[name][metric] == pytest.approx(row[title]["p_value"], abs=5e-5)


def test_without_trials_there_are_signatures():
    signatures, found = sacrebleu_test({"a": ["x"], "b": ["y"]}, ["x"], ["bleu", "ter"], "13a", 0)
    assert found == {} and signatures["ter"].startswith("nrefs:1|case:lc|tok:tercom")
    assert signatures["bleu"].endswith(f"version:{sacrebleu.__version__}")
