"""Minimum Bayes risk against a plain double loop over sacreBLEU's sentence chrF."""

import math

import numpy as np
import pytest
import sacrebleu
import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.rewards import similarity
from fairseq_ami.tools.reranking.mbr import choose_by_risk, expected_utilities
from fairseq_ami.tools.reranking.nbest import Candidates, Hypothesis

TEXTS = ["ein Mann geht .", "ein Hund geht", "", "ein Mann geht .", "zwei Hunde", "ein Mann steht ."]
LOG_PROBS = [-1.0, -0.5, -9.0, -1.0, -700.0, -1.5]


def entry(texts, log_probs):
    rows = [Hypothesis(torch.arange(2), -1.0, log_prob, text) for text, log_prob in zip(texts, log_probs)]
    return Candidates(torch.arange(3), None, tuple(rows))


def double_loop(texts, weights):
    """Weighted mean of each text's chrF against all others, one pair at a time."""
    found = []
    for i, text in enumerate(texts):
        total = mass = 0.0
        for j, other in enumerate(texts):
            if i != j:
                total += weights[j] * sacrebleu.sentence_chrf(text, [other]).score
                mass += weights[j]
        found.append(total / mass)
    return found


@pytest.fixture(params=["fastchrf", "sacrebleu"])
def library(request, monkeypatch):
    """Both ways to chrF."""
    if request.param == "sacrebleu":
        monkeypatch.setattr(similarity, "pairwise_chrf", None)
    else:
        pytest.importorskip("fastchrf")


def test_expected_utilities(library):
    """A text that was drawn twice is a partner twice, of itself once."""
    assert expected_utilities(TEXTS) == pytest.approx(double_loop(TEXTS, [1.0] * 6), abs=1e-9)
    weights = [math.exp(log_prob) for log_prob in LOG_PROBS]
    assert expected_utilities(TEXTS, LOG_PROBS) == pytest.approx(double_loop(TEXTS, weights), abs=1e-9)
    shifted = [log_prob - 5000 for log_prob in LOG_PROBS]  # where exp gives 0
    assert expected_utilities(TEXTS, shifted) == pytest.approx(double_loop(TEXTS, weights), abs=1e-9)


def test_choices(library):
    """Of each list its own; equal texts: the first one; alone: the only one."""
    lists = [entry(TEXTS, LOG_PROBS), entry(["a b", "x y", "a b"], [-1, -9, -1]), entry(["x"], [-1])]
    last = ["x y", "a b", "a b c"]
    lists.append(entry(last, [-1, -2, -3]))
    uniform = [int(np.argmax(double_loop(TEXTS, [1.0] * 6))), 0, 0, int(np.argmax(double_loop(last, [1.0] * 3)))]
    assert choose_by_risk(lists).tolist() == uniform and uniform[0] == 0
    # the fifth text, zwei Hunde, has most of the mass: who is most like it wins
    lists[0] = entry(TEXTS, [-9.0, -9.0, -9.0, -9.0, -0.1, -9.0])
    weights = [math.exp(hypothesis.log_prob) for hypothesis in lists[0].hypotheses]
    by_probability = int(np.argmax(double_loop(TEXTS, weights)))
    assert by_probability != uniform[0]
    assert choose_by_risk(lists, "probability")[0] == by_probability


def test_a_partner_without_a_probability_does_not_count():
    texts = ["a b c", "a b d", "x y z"]
    found = expected_utilities(texts, [-1.0, -2.0, -math.inf])
    assert found == pytest.approx(double_loop(texts, [math.exp(-1), math.exp(-2), 0.0]), abs=1e-9)
    assert np.isfinite(expected_utilities(texts, [math.nan, -2.0, -math.inf])).all()


def test_probabilities_that_are_not_known():
    with pytest.raises(AMIError, match="--mbr probability needs the P- lines"):
        choose_by_risk([entry(["a", "b"], [-1.0, None])], "probability")
    assert choose_by_risk([entry(["a", "b"], [-1.0, None])]).tolist() == [0]
