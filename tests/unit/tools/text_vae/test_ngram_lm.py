"""Perplexities through KenLM, against hand calculation and against its programs run by hand."""

import math
import random
import re
import shlex
import subprocess

import pytest
import torch
from fairseq.data import Dictionary

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.text_vae import ngram_lm
from fairseq_ami.tools.text_vae.generated_text import GeneratedTextJudge, dataset_sentences
from fairseq_ami.tools.text_vae.ngram_lm import KenLM, NGramError, write_sentences


@pytest.fixture(scope="module")
def kenlm():
    try:
        return KenLM.find()
    except AMIError as error:
        pytest.skip(str(error))


def text(tmp_path, name, lines):
    return write_sentences(lines, str(tmp_path / name))


def draw(count, seed, words=300):
    """Sentences of a Markov chain with frequent and rare words, long and short repeats, as Kneser-Ney needs them."""
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        line = [int(words ** rng.random())]
        while rng.random() < 0.85:
            follower = (7 * line[-1] + rng.choice((0, 0, 0, 1, 2))) % words
            line.append(follower if rng.random() < 0.8 else int(words ** rng.random()))
        lines.append(" ".join(f"w{word}" for word in line))
    return lines


def by_hand(kenlm, tmp_path, training, test):
    """Order 5 through the shell; (perplexity with OOVs, without, OOVs, tokens) from each word's log-probability."""
    (tmp_path / "t.txt").write_text("".join(line + "\n" for line in training))
    (tmp_path / "u.txt").write_text("".join(line + "\n" for line in test))
    programs = shlex.quote(kenlm.lmplz), shlex.quote(kenlm.query)
    command = "{} -o 5 -S 100M < t.txt > t.arpa 2> log && {} -v word t.arpa < u.txt 2>> log".format(*programs)
    said = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    words = [word.rsplit("=", 1)[1].split() for word in said.split("\t") if word.strip()]
    scores = [(float(log_prob), index == "0") for index, _, log_prob in words]
    known = [score for score, unseen in scores if not unseen]
    return (
        10 ** (-sum(score for score, _ in scores) / len(scores)),
        10 ** (-sum(known) / len(known)),
        len(scores) - len(known),
        len(scores),
    )


def test_bigrams_calculated_by_hand(kenlm, tmp_path):
    """Interpolated modified Kneser-Ney on `a b`, `a c`, with the discounts 0.5, 1 (too small for the closed form).

    Unigrams count their left neighbours: a 1, b 1, c 1, the end 2; of 5. The discounts free 0.5 for 5 words (the unseen
    one among them): p(a) = p(b) = p(c) = 0.1 + 0.1, p(end) = 0.2 + 0.1, p(unseen) = 0.1. Bigrams, 0.5 left over behind
    each word: p(a|start) = 1/2 + 0.5 p(a), p(b|a) = 0.5/2 + 0.5 p(b), p(end|b) = 0.5 + 0.5 p(end).
    """
    model = kenlm.estimate(text(tmp_path, "train", ["a b", "a c"]), str(tmp_path / "arpa"), order=2)
    found = kenlm.perplexity(model, text(tmp_path, "test", ["a b", "a z"]))
    seen = [0.6, 0.35, 0.65, 0.6, 0.3]  # `a b` end, `a`, and the end behind a word without history
    unseen = 0.5 * 0.1
    assert (found.oov, found.tokens) == (1, 6)
    assert found.fallback.endswith("because we didn't observe any 1-grams with adjusted count 3")
    assert found.including_oov == pytest.approx((math.prod(seen) * unseen) ** (-1 / 6), rel=1e-5)
    assert found.excluding_oov == pytest.approx(math.prod(seen) ** (-1 / 5), rel=1e-5)


def test_against_the_programs_run_by_hand(kenlm, tmp_path):
    training, test = draw(400, 1), draw(50, 2, words=400)
    model = kenlm.estimate(text(tmp_path, "train", training), str(tmp_path / "arpa"))
    found = kenlm.perplexity(model, text(tmp_path, "test", test))
    expected = by_hand(kenlm, tmp_path, training, test)
    assert (found.including_oov, found.excluding_oov) == pytest.approx(expected[:2], rel=1e-5)
    assert (found.oov, found.tokens) == expected[2:] and found.oov > 0
    assert found.tokens == sum(len(line.split()) + 1 for line in test) and not found.fallback


def test_reserved_words_are_ordinary_ones(kenlm, tmp_path):
    """lmplz refuses `<unk>`; the same text with another word in its place has the same perplexity."""
    plain, reserved = [[re.sub(r"\bw3\b", word, line) for line in draw(400, 1)] for word in ("unknown", "<unk>")]
    with pytest.raises(subprocess.CalledProcessError):
        by_hand(kenlm, tmp_path, reserved, reserved[:9])
    model = kenlm.estimate(text(tmp_path, "train", reserved), str(tmp_path / "arpa"))
    found = kenlm.perplexity(model, text(tmp_path, "test", reserved[:9]))
    assert found.including_oov == pytest.approx(by_hand(kenlm, tmp_path, plain, plain[:9])[0], rel=1e-5)
    assert found.oov == 0
    written = write_sentences(["<unk> <unk> a<unk> </s> <s>b <UNK>"], str(tmp_path / "words"))
    assert open(written).read() == "__unk__ __unk__ a<unk> __/s__ <s>b __UNK__\n"


def test_a_vocabulary_shares_the_unseen_mass(kenlm, tmp_path):
    """As in the calculation by hand, but each unseen word gets 0.5 / 10 in place of 0.5 / 5."""
    arpa = str(tmp_path / "arpa")
    model = kenlm.estimate(text(tmp_path, "train", ["a b", "a c"]), arpa, order=2, vocabulary=10)
    found = kenlm.perplexity(model, text(tmp_path, "test", ["z"]))
    unseen, end = 0.5 * 0.05, 0.2 + 0.05
    assert found.including_oov == pytest.approx((unseen * end) ** (-1 / 2), rel=1e-5)


@pytest.fixture
def judge(kenlm, tmp_path):
    return GeneratedTextJudge(kenlm, str(tmp_path), draw(400, 1), draw(50, 2), vocabulary=301)


def test_forward_and_reverse(judge, kenlm, tmp_path):
    """FPPL: trained on the real text; RPPL: trained on the generated one."""
    generated = draw(300, 3, words=200)
    (tmp_path / "hand").mkdir()
    found = judge.measure("sampled", iter(generated))
    forward = by_hand(kenlm, tmp_path / "hand", draw(400, 1), generated)
    reverse = by_hand(kenlm, tmp_path / "hand", generated, draw(50, 2))
    assert found.fppl.including_oov == pytest.approx(forward[0], rel=1e-5)
    assert (found.rppl.including_oov, found.rppl.oov) == (pytest.approx(reverse[0], rel=1e-5), reverse[2])
    assert found.rppl.oov > 0 and found.rppl_closed.including_oov > found.rppl.including_oov
    assert (found.sentences, found.distinct) == (300, len(set(generated))) and not found.remarks
    assert found.tokens_per_sentence == pytest.approx(sum(len(line.split()) + 1 for line in generated) / 300)


def test_a_collapsed_generator(judge):
    """lmplz gives up on one sentence said over and over: said in the remarks, with what its fall-back gives."""
    found = judge.measure("greedy", ["w0 w1"] * 500)
    assert found.distinct == 1 and found.fppl.including_oov > 1
    assert "fppl" not in found.remarks and "fall-back" in found.remarks["rppl"]
    assert found.rppl.fallback and found.rppl_closed.including_oov > found.rppl.including_oov


def test_nothing_generated(judge):
    """Empty sentences are sentences; no sentence at all is a remark."""
    assert judge.measure("greedy", [""] * 20).rppl.oov == sum(len(line.split()) for line in draw(50, 2))
    found = judge.measure("greedy", [])
    assert found.fppl is None and set(found.remarks) == {"fppl", "rppl", "rppl_closed"}
    assert "no sentence to estimate" in found.remarks["rppl"] and "no sentence to measure" in found.remarks["fppl"]


def test_programs_that_fail(kenlm, judge, tmp_path):
    """What they say reaches the user; only NGramError is raised."""
    training = text(tmp_path, "train", ["a b"])
    with pytest.raises(NGramError, match="lmplz failed: .*No such file or directory"):
        kenlm.estimate(training, str(tmp_path / "nowhere" / "arpa"))
    with pytest.raises(NGramError, match="query failed"):
        kenlm.perplexity(ngram_lm.NGramModel(training, ""), training)
    with pytest.raises(NGramError, match="cannot write"):
        write_sentences(["a"], str(tmp_path / "nowhere" / "text"))
    with pytest.raises(NGramError, match="cannot be started"):
        KenLM(str(tmp_path / "lmplz"), "query").estimate(training, str(tmp_path / "arpa"))
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    with pytest.raises(NGramError, match="lmplz was killed by signal 9"):
        KenLM(str(killed), "query").estimate(training, str(tmp_path / "arpa"))


def test_where_the_programs_are_looked_for(monkeypatch, tmp_path):
    """A folder, the environment, the PATH, where `make kenlm` puts them."""
    places = {}
    for place in ("named", "environment", "path", "built"):
        (tmp_path / place).mkdir()
        for name in ("lmplz", "query"):
            (tmp_path / place / name).write_text("#!/bin/sh\n")
            (tmp_path / place / name).chmod(0o755)
        places[place] = str(tmp_path / place)
    monkeypatch.setattr(ngram_lm, "BUILT", tmp_path / "built")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("KENLM_BIN", raising=False)
    assert KenLM.find().query == f"{places['built']}/query"
    monkeypatch.setenv("PATH", places["path"])
    assert KenLM.find().query == f"{places['path']}/query"
    monkeypatch.setenv("KENLM_BIN", places["environment"])
    assert KenLM.find().lmplz == f"{places['environment']}/lmplz"
    assert KenLM.find(places["named"]).lmplz == f"{places['named']}/lmplz"
    with pytest.raises(AMIError, match="KenLM's lmplz and query not found in /elsewhere: `make kenlm`"):
        KenLM.find("/elsewhere")


def test_dictionary_words():
    """The symbols of sentences come out as words, the unknown one as `<unk>`, without the end symbol."""
    dictionary = Dictionary()
    tokens = torch.tensor([dictionary.add_symbol("a"), dictionary.unk(), dictionary.eos()])
    assert list(dataset_sentences([{"target": tokens}], dictionary)) == ["a <unk>"]
