"""Dist-n, Ent-n and repetition, counted by hand and against nltk and scipy."""

import math
import random

import pytest
import scipy.stats
from nltk import FreqDist
from nltk import ngrams as nltk_ngrams

from fairseq_ami.metrics import distinct_n
from fairseq_ami.metrics.diversity import count_ngrams, entropy, repeated_ngrams

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
