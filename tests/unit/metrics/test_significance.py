"""Coins, p-values and Holm's correction against enumeration and arithmetic by hand."""

import itertools

import numpy as np
import pytest

from fairseq_ami.metrics.significance import TRIALS_AT_ONCE, holm, p_value, swaps


def test_coins_are_fair_and_the_seed_decides():
    """40,000 coins: the share of heads has a standard deviation of 0.0025; so has that of equal neighbours."""
    trials = 2 * TRIALS_AT_ONCE + 72
    coins = np.concatenate(list(swaps(200, trials, 1)))
    assert coins.shape == (200, 200) and coins.dtype == bool
    assert coins.mean() == pytest.approx(0.5, abs=0.01)
    assert (coins[:-1] == coins[1:]).mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_array_equal(np.concatenate(list(swaps(200, trials, 1))), coins)
    assert (np.concatenate(list(swaps(200, trials, 2))) != coins).any()


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_p_value_of_a_mean_against_all_exchanges(shift):
    """All 2^10 exchanges of ten pairs; 20,000 trials have a standard deviation of at most 0.0036."""
    gains = np.random.default_rng(4).normal(size=10) + shift
    signs = np.array(list(itertools.product([1, -1], repeat=10)))
    exact = np.mean(np.abs(signs @ gains) >= abs(gains.sum()) - 1e-12)
    drawn = np.concatenate([(2.0 * kept - 1) @ gains for kept in swaps(10, 20000, 3)])
    assert p_value(gains.sum(), drawn, 1e-12) == pytest.approx(exact, abs=0.015)


def test_p_value_by_hand():
    drawn = np.array([0.0, -2.0, 1.0, 2.0, -3.0])
    assert p_value(2.0, drawn) == p_value(-2.0, drawn) == 4 / 6  # -2, 2, -3, and the observed one
    assert p_value(2.0 + 1e-15, drawn) == 2 / 6 and p_value(2.0 + 1e-15, drawn, 1e-12) == 4 / 6
    assert p_value(9.0, drawn) == 1 / 6 and p_value(0.0, np.zeros(9)) == 1.0


@pytest.mark.parametrize(
    "given, adjusted",
    [
        # from below: 4 * .005, 3 * .01, 2 * .03, and 1 * .04, which must not fall below its predecessor
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2], [0.2]),
        ([0.5, 0.4, 0.9], [1.0, 1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([], []),
    ],
)
def test_holm_by_hand(given, adjusted):
    assert holm(given) == pytest.approx(adjusted)


def test_holm_rejects_what_the_steps_reject():
    """The step-down procedure: the smallest against alpha / m, the next against alpha / (m - 1), up to a failure."""
    draw = np.random.default_rng(0)
    for _ in range(50):
        given = draw.uniform(size=6) ** 4
        rejected = set()
        for step, index in enumerate(np.argsort(given)):
            if given[index] > 0.05 / (6 - step):
                break
            rejected.add(int(index))
        assert {index for index, value in enumerate(holm(given.tolist())) if value <= 0.05} == rejected
