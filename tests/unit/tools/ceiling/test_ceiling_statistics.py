"""Rank correlations against scipy, slopes against least squares, picks and chance against sacreBLEU and enumeration."""

import itertools

import numpy as np
import pytest
import sacrebleu
from scipy.stats import spearmanr

from fairseq_ami.tools.ceiling.statistics import picked, rank_correlation, without_linear_length
from fairseq_ami.tools.reranking.scores import counts_of_texts

REFERENCES = ["a man walks in the green park", "two dogs run over the snow ."]
ROWS = [
    ["a man walks in a park", "the man walks in the green park", "a man walks in a park"],
    ["two dogs play", "two dogs run over the snow now .", "a cat"],
]
FIRST = np.array([[0, 1, 0], [0, 1, 2]])
ALIKE = np.arange(3)[None].repeat(2, 0)  # every sample is another text


def corpus_bleu(texts):
    return sacrebleu.corpus_bleu(texts, [REFERENCES], tokenize="none", force=True)


@pytest.fixture
def counts():
    return counts_of_texts(ROWS, REFERENCES, "none")


# ------------------------------------------------------------------ rank correlation


def test_correlation_is_scipys_averaged_over_sources():
    """With ties on either side."""
    rng = np.random.default_rng(1)
    rewards, quality = rng.integers(0, 5, (7, 6)).astype(float), rng.integers(0, 4, (7, 6)).astype(float)
    want = np.mean([spearmanr(left, right).statistic for left, right in zip(rewards, quality)])
    mean, left_out = rank_correlation(rewards, quality)
    assert mean == pytest.approx(want) and left_out == 0


def test_sources_whose_samples_are_equal_are_left_out_and_counted():
    """Of three one has equal rewards and one equal quality: the last one decides alone, by hand."""
    rewards = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    quality = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [1.0, 2.0, 3.0]])
    assert rank_correlation(rewards, quality) == (pytest.approx(0.5), 2)  # 1 - 6 * 2 / (3 * 8)
    assert rank_correlation(rewards[:1], quality[:1]) == (None, 1)


# ------------------------------------------------------------------ length


def test_neutral_is_the_rest_of_a_regression_with_a_level_per_source():
    """Against least squares with one column for length and one for each source."""
    rng = np.random.default_rng(2)
    lengths = rng.integers(3, 12, (5, 4))
    rewards = rng.normal(size=(5, 4)) - 0.3 * lengths
    design = np.concatenate([lengths.reshape(-1, 1), np.kron(np.eye(5), np.ones((4, 1)))], axis=1)
    slope = np.linalg.lstsq(design, rewards.ravel(), rcond=None)[0][0]
    want = rewards - slope * (lengths - lengths.mean(1, keepdims=True))
    np.testing.assert_allclose(without_linear_length(rewards, lengths), want, atol=1e-7)


def test_what_is_linear_in_length_leaves_nothing_to_rank():
    """Exactly: a rounding error would give a rank of its own to every sample."""
    lengths = np.array([[3, 7, 4], [11, 5, 6], [9, 9, 9]])
    rewards = 0.1 * lengths + np.array([[0.3], [-7.1], [1e3]])
    flat = without_linear_length(rewards, lengths)
    assert (flat == flat[:, :1]).all()
    assert rank_correlation(flat, lengths.astype(float)) == (None, 3)
    same = np.full((3, 3), 5)
    np.testing.assert_array_equal(without_linear_length(rewards, same), rewards)  # no length differs: no slope


# ------------------------------------------------------------------ picks


def test_picks_are_sacrebleus(counts):
    """The rewards prefer the second sample of both sources."""
    rewards = np.array([[0.1, 0.9, 0.1], [-3.0, -1.0, -2.0]])
    want = corpus_bleu([ROWS[0][1], ROWS[1][1]])
    found = picked(rewards, ALIKE, counts)
    assert found.bleu == pytest.approx(want.score) and found.length == pytest.approx(want.sys_len / want.ref_len)


def test_equals_of_one_text_are_one_pick(counts):
    """The first and the third sample of the first source are the same."""
    rewards = np.array([[0.9, 0.1, 0.9], [2.0, 1.0, 0.0]])
    assert picked(rewards, FIRST, counts).bleu == pytest.approx(corpus_bleu([ROWS[0][0], ROWS[1][0]]).score)


def test_a_constant_reward_is_chance(counts, monkeypatch):
    """Against all nine choices; with 4,000 draws the standard error is a sixtieth of the standard deviation."""
    monkeypatch.setattr("fairseq_ami.tools.ceiling.statistics.DRAWS", 4000)
    every = [corpus_bleu(list(texts)) for texts in itertools.product(*ROWS)]
    scores = np.array([score.score for score in every])
    lengths = np.array([score.sys_len / score.ref_len for score in every])
    found = picked(np.zeros((2, 3)), FIRST, counts)
    assert found.bleu == pytest.approx(scores.mean(), abs=4 * scores.std() / 4000**0.5)
    assert found.length == pytest.approx(lengths.mean(), abs=4 * lengths.std() / 4000**0.5)


def test_equals_of_different_texts_are_drawn(counts, monkeypatch):
    """The reward leaves two samples of the second source open, of equal chance."""
    monkeypatch.setattr("fairseq_ami.tools.ceiling.statistics.DRAWS", 4000)
    rewards = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    two = np.array([corpus_bleu([ROWS[0][1], text]).score for text in ROWS[1][:2]])
    assert picked(rewards, FIRST, counts).bleu == pytest.approx(two.mean(), abs=4 * two.std() / 4000**0.5)


def test_sentence_scores_are_sacrebleus(counts):
    """Random texts, an empty one among them."""
    rng = np.random.default_rng(3)
    words = np.array("a man the dog runs , . park 3 5.1".split())
    rows = [[" ".join(rng.choice(words, rng.integers(0, 12))) for _ in range(5)] for _ in range(20)]
    references = [" ".join(rng.choice(words, rng.integers(1, 12))) for _ in range(20)]
    for tokenize in ("none", "13a"):
        found = counts_of_texts(rows, references, tokenize).of_sentences()
        want = [
            [sacrebleu.sentence_bleu(text, [reference], tokenize=tokenize).score for text in row]
            for row, reference in zip(rows, references)
        ]
        np.testing.assert_allclose(found, want, atol=1e-10)
