"""Dist-n, Ent-n and repetition, counted by hand and against nltk and scipy."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from nltk import FreqDist
from nltk import ngrams as nltk_ngrams

from fairseq_ami.metrics import distinct_n
from fairseq_ami.metrics.diversity import count_ngrams, entropy, expectation_adjusted_distinct, repeated_ngrams

# words: a b a | a b c | (none) -> a b a a b c; pairs: ab ba | ab bc
TEXTS = ["a b a", "a b c", ""]


@pytest.mark.parametrize("n, expected", [(1, 3 / 6), (2, 3 / 4), (3, 2 / 2), (4, 0.0)])
def test_distinct_over_all(n, expected):
    assert distinct_n(TEXTS, n) == expected


def test_no_n_gram_crosses_from_one_text_into_the_next():
    assert distinct_n(["a b", "b a"], 2) == 1.0  # ab, ba; joined it would be ab bb ba
    assert distinct_n(["a", "b"], 2) == 0.0


def test_repeated_texts_lower_it():
    assert distinct_n(["x y"] * 5, 1) == 2 / 10
    assert distinct_n(["x y"] * 5, 2) == 1 / 5


def test_any_white_space_separates_and_texts_may_come_from_a_generator():
    assert distinct_n((text for text in ["a\tb  a", " a "]), 1) == 2 / 4


def entropy_n(texts, n):
    return entropy(count_ngrams(texts, n).values())


def test_nothing_gives_zero():
    assert distinct_n([], 1) == 0.0
    assert distinct_n(["", "  "], 1) == 0.0
    assert entropy_n([], 4) == 0.0
    assert entropy_n(["a b c"], 4) == 0.0


@pytest.mark.parametrize("n", [0, -1])
@pytest.mark.parametrize("metric", [distinct_n, entropy_n])
@pytest.mark.parametrize("texts", [["a"], []])
def test_n_below_one_is_refused(metric, texts, n):
    with pytest.raises(ValueError, match="at least one word"):
        metric(texts, n)


def test_entropy_by_hand():
    # pairs: ab twice, ba, bc: probabilities 1/2, 1/4, 1/4
    assert entropy_n(TEXTS, 2) == pytest.approx(1.5 * math.log(2), abs=1e-15)
    assert entropy_n(["a a a a a"], 4) == 0.0  # one 4-gram, twice
    assert entropy_n(["a b c d e"], 4) == pytest.approx(math.log(2), abs=1e-15)


def test_against_nltk_and_scipy():
    random.seed(0)
    texts = [" ".join(random.choices("abcde", k=random.randint(0, 12))) for _ in range(200)]
    for n in (1, 2, 4):
        stock = FreqDist(gram for text in texts for gram in nltk_ngrams(text.split(), n))
        assert count_ngrams(texts, n) == stock
        assert distinct_n(texts, n) == stock.B() / stock.N()
        assert entropy_n(texts, n) == pytest.approx(scipy.stats.entropy(list(stock.values())), rel=1e-13)


def test_entropy_does_not_depend_on_the_order_of_the_counts():
    draw = random.Random(1)
    counts = [draw.randint(1, 10**6) for _ in range(1000)]
    assert entropy(counts) == entropy(sorted(counts)) == entropy(counts[::-1])


@pytest.mark.parametrize(
    "text, n, expected",
    [
        ("i do not know i do not know", 4, 1),  # 5 4-grams, the last stood first
        ("no no no no no", 4, 1),
        ("no no no", 2, 1),
        ("no no no", 4, 0),
        ("a b c d e", 4, 0),
        ("", 1, 0),
    ],
)
def test_repeated(text, n, expected):
    assert repeated_ngrams(text.split(), n) == expected


# ---------------------------------------------------------------------- expectation-adjusted distinct


@pytest.mark.parametrize(
    "distinct, total, vocabulary", [(1, 2, 2), (3, 9, 7), (5, 5, 5), (1, 4, 1), (700, 90000, 8000)]
)
def test_ead_is_the_closed_form(distinct, total, vocabulary):
    """N / (V (1 - ((V - 1) / V)^C)) in exact fractions."""
    expected = distinct / (vocabulary * (1 - Fraction(vocabulary - 1, vocabulary) ** total))
    assert expectation_adjusted_distinct(distinct, total, vocabulary) == pytest.approx(float(expected), rel=1e-12)


def test_ead_of_words_drawn_uniformly_is_about_one():
    """Its denominator is what such words have: 2000 draws of 30 words from 40, standard error 0.001."""
    words = np.random.default_rng(0).integers(40, size=(2000, 30))
    distinct = np.array([len(set(row)) for row in words.tolist()])
    found = expectation_adjusted_distinct(distinct, np.full(2000, 30), 40)
    assert found.mean() == pytest.approx(1, abs=0.004)


def test_ead_of_a_vast_vocabulary_is_dist_1():
    """No word is drawn twice then; the plain power of the formula would have lost its digits."""
    assert expectation_adjusted_distinct(300, 400, 10**15) == pytest.approx(300 / 400, rel=1e-9)


def test_ead_without_words():
    assert expectation_adjusted_distinct(np.array([0, 1]), np.array([0, 2]), 2).tolist() == [0.0, 1 / 1.5]
    with pytest.raises(ValueError, match="at least one word, not 0"):
        expectation_adjusted_distinct(1, 1, 0)
