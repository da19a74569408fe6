"""Dist-n, counted by hand."""

import pytest

from fairseq_ami.metrics import distinct_n

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


def test_nothing_gives_zero():
    assert distinct_n([], 1) == 0.0
    assert distinct_n(["", "  "], 1) == 0.0


@pytest.mark.parametrize("n", [0, -1])
def test_n_below_one_is_refused(n):
    with pytest.raises(ValueError, match="at least one word"):
        distinct_n(["a"], n)
