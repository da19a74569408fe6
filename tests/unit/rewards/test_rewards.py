"""Rewards of text: names and weights, text from ids, similarities against sacreBLEU, functions of one's own."""

import sys
import types

import numpy as np
import pytest
import sacrebleu
import torch
from unit.tiny import dictionary

from fairseq_ami.errors import AMIError
from fairseq_ami.rewards import OwnReward, Sampled, SentenceBleu, SentenceChrf, TextReader, parse_rewards, similarity


def sampled(outputs, references=None, k=1):
    """Samples with these texts."""
    sources = [f"source {index // k}" for index in range(len(outputs))]
    ids = [[4 + index] for index in range(len(outputs))]
    return Sampled(sources, outputs, references, ids, ids, None if references is None else ids, k)


# ------------------------------------------------------------------ names and weights


@pytest.mark.parametrize(
    "text, rewards",
    [
        ("log-q", {"log-q": 1.0}),
        ("log-q=1,chrf=0.5,my_package.mine:f=0.2", {"log-q": 1.0, "chrf": 0.5, "my_package.mine:f": 0.2}),
        (" bleu = -2 , constant", {"bleu": -2.0, "constant": 1.0}),
    ],
)  # fmt: skip
def test_names_and_weights(text, rewards):
    assert parse_rewards(text) == rewards


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no reward ''; choose from log-q, infomax, constant, chrf, bleu"),
        ("blue", "no reward 'blue'"),
        ("chrf,chrf=2", "chrf stands there twice"),
        ("chrf=much", "the weight of chrf is no number: 'much'"),
        ("chrf=", "the weight of chrf is no number"),
        ("chrf=0", "must be a number other than 0"),
        ("chrf=nan", "must be a number other than 0"),
        ("1module:function", "no reward '1module:function'"),
        ("module:", "module:function"),
    ],
)
def test_names_and_weights_that_cannot_be_read(text, message):
    with pytest.raises(AMIError) as error:
        parse_rewards(text)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["bpe", "", "@@@"])
def test_subwords_that_fairseq_does_not_know(name):
    with pytest.raises(AMIError, match="--reward-post-process .*: fairseq knows '@@ '"):
        TextReader(dictionary(3), dictionary(3), name)


# ------------------------------------------------------------------ text


def test_reader_undoes_subwords_and_repeats_sources():
    """Two samples per source; padding on either side, end symbols and an empty sample."""
    words = dictionary(0)
    for word in ("un@@", "der", "auf"):
        words.add_symbol(word)
    pad, eos = words.pad(), words.eos()
    source = torch.tensor([[pad, 4, 5, eos], [6, 4, 5, eos]])
    outputs = torch.tensor([[6, eos, pad], [4, 5, eos], [eos, pad, pad], [6, 6, eos]])
    read = TextReader(words, words, "subword_nmt").read(source, outputs, source)
    assert read.sources == ["under", "under", "auf under", "auf under"] == read.references
    assert read.outputs == ["auf", "under", "", "auf auf"]
    assert read.output_ids == [[6], [4, 5], [], [6, 6]] and read.source_ids[2] == [6, 4, 5]
    assert len(read) == 4 and read.samples_per_source == 2
    assert TextReader(words, words, None).read(source, outputs, None).outputs[1] == "un@@ der"
    assert TextReader(words, words, None).read(source, outputs, None).references is None


# ------------------------------------------------------------------ similarities

TEXTS = ["ein mann geht .", "ein Mann", "", "ü", "zwei Hunde spielen im Schnee , sie bellen"]
PAIRS = [(output, reference) for output in TEXTS for reference in TEXTS]


@pytest.mark.parametrize("fast", [True, False])
def test_chrf_is_sacrebleus(fast, monkeypatch):
    """Against sacrebleu's own function, one sentence at a time; with and without fastchrf."""
    if fast:
        pytest.importorskip("fastchrf")
    else:
        monkeypatch.setattr(similarity, "pairwise_chrf", None)
    outputs, references = [output for output, _ in PAIRS], [reference for _, reference in PAIRS]
    want = [sacrebleu.sentence_chrf(output, [reference]).score / 100 for output, reference in PAIRS]
    assert SentenceChrf()(sampled(outputs, references)) == pytest.approx(want, abs=1e-12)
    # five samples per source, compared with the reference of their own source
    grouped = [TEXTS[row] for row in range(5) for _ in range(5)]
    want = [sacrebleu.sentence_chrf(output, [TEXTS[row]]).score / 100 for row in range(5) for output in TEXTS]
    assert SentenceChrf()(sampled(TEXTS * 5, grouped, k=5)) == pytest.approx(want, abs=1e-12)


def test_bleu_is_sacrebleus():
    outputs, references = [output for output, _ in PAIRS], [reference for _, reference in PAIRS]
    want = [sacrebleu.sentence_bleu(output, [reference]).score / 100 for output, reference in PAIRS]
    assert SentenceBleu()(sampled(outputs, references)) == pytest.approx(want, abs=1e-12)


# ------------------------------------------------------------------ one's own


@pytest.fixture
def module(monkeypatch):
    """An importable module of a user's own."""
    module = types.ModuleType("my_rewards")
    monkeypatch.setitem(sys.modules, "my_rewards", module)
    return module


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_own_function(module, kind):
    module.length = lambda sampled: kind([len(output.split()) for output in sampled.outputs])
    assert OwnReward("my_rewards:length")(sampled(["a b", "", "c"])) == [2.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda sampled: [1.0], "returned 1 numbers for 2 samples"),
        (lambda sampled: 3.0, "must return one number per sample, not float"),
        (lambda sampled: None, "must return one number per sample, not NoneType"),
        (lambda sampled: [[1.0], [2.0]], "must return one number per sample"),
        (lambda sampled: ["good", "bad"], "must return one number per sample"),
        (lambda sampled: [1.0, float("nan")], "returned nan for the sample 'b' (1 of 2 are not finite)"),
        (lambda sampled: [float("-inf")] * 2, "returned -inf for the sample 'a' (2 of 2 are not finite)"),
        (lambda sampled: 1 / 0, "it raised ZeroDivisionError: division by zero"),
    ],
)
def test_own_function_that_gives_something_else(module, function, message):
    """One line that names the reward."""
    module.wrong = function
    with pytest.raises(AMIError) as error:
        OwnReward("my_rewards:wrong")(sampled(["a", "b"]))
    assert str(error.value).startswith("--reward my_rewards:wrong: ") and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, message",
    [
        ("no_such_module:f", "cannot import no_such_module (ModuleNotFoundError"),
        ("my_rewards:nothing", "my_rewards has no function 'nothing'"),
        ("my_rewards:__name__", "has no function"),
    ],
)
def test_own_function_that_is_not_there(module, name, message):
    with pytest.raises(AMIError) as error:
        OwnReward(name)
    assert message in str(error.value)
