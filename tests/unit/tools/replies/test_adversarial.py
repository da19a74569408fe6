"""Adversarial evaluation on texts whose answer is known, and its bookkeeping against plain code."""

import json
import math
import random

import pytest
import torch

from fairseq_ami import cli
from fairseq_ami.tools.replies import adversarial
from fairseq_ami.tools.replies.adversarial import CHECKS, Verdict, drawn_replies, examples, split_in_half
from fairseq_ami.tools.replies.evaluator import Example, Judged, train_and_judge, words_of
from fairseq_ami.tools.replies.evaluator_settings import EvaluatorSettings

CPU = torch.device("cpu")
SMALL = EvaluatorSettings(embed_dim=8, hidden=8, epochs=6, batch_size=16, lr=0.02, dropout=0.0, min_count=1)


def silent(items, title):
    return items


def text(rng, words):
    return " ".join(rng.choice(words) for _ in range(rng.randint(2, 5)))


def dialogues(count, first, second, seed=0):
    """(history, reply of the first kind), (history, reply of the second kind), for *count* histories."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        history = (text(rng, "abcd"), text(rng, "abcd"))
        found += [Example(history, text(rng, first), True), Example(history, text(rng, second), False)]
    return found


def judged(training, testing, settings=SMALL):
    return train_and_judge(training, testing, settings, CPU, silent, "")


def test_disjoint_vocabularies_are_told_apart_without_an_error():
    found = judged(dialogues(60, "abc", "xyz", 1), dialogues(60, "abc", "xyz", 2))
    assert found == Judged(120, 60, 60, 60) and found.accuracy == 1 and found.standard_error == 0


def test_two_halves_of_one_sample_cannot_be_told_apart():
    """50 % within three standard errors; one reply per history, half of them called positive."""
    rng = random.Random(5)
    lines = [((text(rng, "abcd"),), text(rng, "abcd")) for _ in range(300)]
    parts = []
    for numbers in (range(150), range(150, 300)):
        parts.append(examples([h for h, _ in lines], [r for _, r in lines], [r for _, r in lines], numbers, 1, True))
        assert sum(example.positive for example in parts[-1]) == 75 == len(numbers) / 2
    found = judged(*parts)
    assert abs(found.accuracy - 0.5) < 3 * math.sqrt(0.25 / 150)


def test_it_learns_that_a_reply_answers_its_history():
    """Both kinds have the same words: only the history tells which is which."""
    rng = random.Random(3)

    def one(positive):
        word = rng.choice("ab")
        other = {"a": "b", "b": "a"}[word]
        return Example((word,), word if positive else other, positive)

    found = judged([one(at % 2 == 0) for at in range(300)], [one(at % 2 == 0) for at in range(60)])
    assert found.accuracy > 0.95


def test_the_same_seed_gives_the_same_figures_and_leaves_other_random_numbers_alone():
    parts = dialogues(20, "abc", "bcd", 1), dialogues(20, "abc", "bcd", 2)
    torch.manual_seed(9)
    want = torch.rand(3)
    torch.manual_seed(9)
    first = judged(*parts)
    assert torch.equal(torch.rand(3), want) and judged(*parts) == first


def test_words_are_those_of_the_training_half():
    dictionary = words_of([Example(("a b", "a"), "b rare", True)], min_count=2)
    known = [word for word in ("a", "b", "rare", "<sep>") if word in dictionary]
    assert known == ["a", "b", "<sep>"]


def test_halves_and_random_replies():
    for lines in (20, 21, 57):
        halves = split_in_half(lines, 4)
        assert sorted([*halves.training, *halves.testing]) == list(range(lines))
        assert 0 <= len(halves.training) - len(halves.testing) <= 1
        replies = [str(line) for line in range(lines)]
        drawn = drawn_replies(replies, halves, 4)
        assert all(drawn[line] != replies[line] for line in range(lines))
        for half in (halves.training, halves.testing):  # no reply of the other half, and each once
            assert sorted(drawn[line] for line in half) == sorted(replies[line] for line in half)
    assert split_in_half(30, 1) != split_in_half(30, 2)


def test_success_and_reliability_error():
    """By hand: checks with successes .4, .5, .2 and 0 are .1, 0, .2 and 0 away from those of a perfect evaluator."""
    successes = dict(zip(CHECKS, (40, 50, 20, 0)))
    checks = {pair: Judged(100 - wrong, 50, 50, 0) for pair, wrong in successes.items()}
    verdict = Verdict(Judged(70, 50, 50, 30), checks)
    assert verdict.success == pytest.approx(0.3) and verdict.reliability_error == pytest.approx(0.075)
    assert verdict.versus_human.standard_error == pytest.approx(math.sqrt(0.7 * 0.3 / 100))


# ---------------------------------------------------------------------- the verb


@pytest.fixture
def files(tmp_path):
    """Human replies repeat the history's word; one system does so as well, the other speaks another language."""
    rng = random.Random(1)
    rows = [rng.choice("abcd") for _ in range(200)]
    texts = {
        "histories": [f"hello <sep> {word}" for word in rows],
        "references": [f"{word} {word}" for word in rows],
        "alike": [f"{word} {word}" for word in rows],
        "foreign": ["x y"] * len(rows),
    }
    for name, lines in texts.items():
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    return tmp_path


def argv(files, *more):
    flags = "--embed-dim 12 --hidden 12 --epochs 10 --batch-size 16 --lr 0.05 --dropout 0 --min-count 1 --cpu".split()
    texts = [f"--{name}={files / name}" for name in ("histories", "references")]
    return ["adversarial-eval", *texts, "--separator", "<sep>", *flags, *more]


def test_the_verb(files, capsys):
    """The four checks of a good evaluator, a system that passes for a human, and one that does not."""
    out = files / "out.json"
    systems = [f"--system={name}={files / name}" for name in ("alike", "foreign")]
    assert cli.main([*argv(files, *systems), f"--json={out}"]) == 0
    told = capsys.readouterr().out
    found = json.loads(out.read_text())
    alike, foreign = found["systems"]["alike"], found["systems"]["foreign"]
    assert foreign["adversarial_success"] == 0.0 and "foreign: adversarial success 0.000 +- 0.000" in told
    assert abs(alike["adversarial_success"] - 0.5) <= 3 * math.sqrt(0.25 / 200)
    checks = alike["checks"]
    for name in ("human_against_human", "machine_against_machine"):
        assert abs(checks[name]["success"] - 0.5) <= 3 * math.sqrt(0.25 / 100)
        assert checks[name]["positive_examples"] + checks[name]["negative_examples"] == 100
    for name in ("human_against_random", "machine_against_random"):  # one in four random replies is right by chance
        assert checks[name]["success"] < 0.35 and checks[name]["perfect_success"] == 0
    errors = [abs(each["success"] - each["perfect_success"]) for each in checks.values()]
    assert alike["reliability_error"] == pytest.approx(sum(errors) / 4)
    assert checks["human_against_human"] == foreign["checks"]["human_against_human"]
    assert found["settings"]["hidden"] == 12 and found["version"]


def test_mistakes(files, capsys, monkeypatch):
    def fails(message, *arguments):
        assert cli.main([*argv(files), *arguments]) == 2
        assert message in capsys.readouterr().err

    system = f"--system=alike={files / 'alike'}"
    fails("a system is given as NAME=FILE", "--system=alike")
    fails("cannot write", system, f"--json={files / 'no' / 'folder.json'}")
    (files / "short").write_text("a\n")
    fails("has 1 lines", f"--system=short={files / 'short'}")
    fails("has 1 lines", system, f"--references={files / 'short'}")
    for name in ("histories", "references", "alike"):
        lines = (files / name).read_text().splitlines(True)[: adversarial.LEAST - 1]
        (files / name).write_text("".join(lines))
    fails("19 histories are too few", system)
    with pytest.raises(SystemExit):
        cli.main([*argv(files), system, "--dropout", "1"])
