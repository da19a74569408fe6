"""Running mean and spread of the rewards, by hand."""

import math

import pytest
import torch

from fairseq_ami.optim.running_statistics import RunningSlope, RunningStatistics, on_device


def sums(*rewards):
    values = torch.tensor(rewards, dtype=torch.float64)
    return torch.stack([torch.tensor(float(len(rewards))).double(), values.sum(), values.pow(2).sum()])


def update(statistics, phase, *batches):
    for batch in batches:
        statistics.add(phase, sums(*batch))
    statistics.hold()
    statistics.commit(phase)


def test_first_update_gives_its_own_mean_and_spread():
    """No zero to start from: (-1, -3) has mean -2 and spread 1."""
    statistics = RunningStatistics(0.75)
    assert not statistics.ready("forward")
    update(statistics, "forward", (-1.0, -3.0))
    assert statistics.ready("forward")
    assert (statistics.mean["forward"], statistics.std("forward")) == (-2.0, 1.0)


def test_running_averages_by_hand():
    """Weight of the past 0.75: mean -2, -2.5, -1.125; square 5, 7.75, 6.8125."""
    statistics = RunningStatistics(0.75)
    update(statistics, "forward", (-1.0, -3.0))  # mean -2, square 5
    update(statistics, "forward", (-4.0,), (-4.0, -4.0))  # mean -4, square 16
    assert statistics.mean["forward"] == pytest.approx(0.75 * -2 + 0.25 * -4)
    assert statistics.square["forward"] == pytest.approx(0.75 * 5 + 0.25 * 16)
    update(statistics, "forward", (3.0, 3.0))  # mean 3, square 9
    assert statistics.mean["forward"] == pytest.approx(0.75 * -2.5 + 0.25 * 3)
    assert statistics.square["forward"] == pytest.approx(0.75 * 7.75 + 0.25 * 9)
    assert statistics.std("forward") == pytest.approx(math.sqrt(8.0625 - 1.125**2))


def test_micro_batches_add_up():
    """One batch of four = two of two = one of three and one of one."""
    whole, halves, uneven = (RunningStatistics(0.9) for _ in range(3))
    for _ in range(2):
        update(whole, "noise", (-1.0, -2.0, -5.0, -8.0))
        update(halves, "noise", (-1.0, -2.0), (-5.0, -8.0))
        update(uneven, "noise", (-1.0, -2.0, -5.0), (-8.0,))
    assert whole.state_dict() == halves.state_dict() == uneven.state_dict()


def test_phases_are_kept_apart():
    """K r in the forward phase, r in the noise phase: two baselines."""
    statistics = RunningStatistics(0.9)
    update(statistics, "forward", (-1.0,))
    update(statistics, "noise", (-7.0,))
    assert statistics.mean == {"forward": -1.0, "noise": -7.0}


def test_rewards_of_a_step_lost_to_overflow_are_dropped():
    """Held, never committed: the next step's hold replaces them."""
    statistics = RunningStatistics(0.5)
    statistics.add("forward", sums(-1000.0))
    statistics.hold()
    update(statistics, "forward", (-2.0,))
    assert statistics.mean["forward"] == -2.0


def test_an_update_without_rewards_changes_nothing():
    """Backward phases and workers without data."""
    statistics = RunningStatistics(0.5)
    update(statistics, "forward", (-2.0,))
    before = statistics.state_dict()
    update(statistics, "backward")
    update(statistics, "forward")
    assert statistics.state_dict() == before and not statistics.ready("backward")


def test_uncommitted_sums_do_not_move_the_baseline():
    """What an update uses is known before its samples are drawn."""
    statistics = RunningStatistics(0.5)
    update(statistics, "forward", (-2.0,))
    statistics.add("forward", sums(-100.0))
    statistics.hold()
    assert statistics.mean["forward"] == -2.0


def test_spread_of_equal_rewards_is_zero():
    """Rounding must not give the root of a negative number."""
    statistics = RunningStatistics(0.9)
    for _ in range(5):
        update(statistics, "forward", (-0.1, -0.1, -0.1))
    assert statistics.std("forward") == pytest.approx(0.0, abs=1e-7)


def test_state_survives():
    """A copy goes on as the original does."""
    statistics, other = RunningStatistics(0.9), RunningStatistics(0.9)
    update(statistics, "forward", (-1.0, -3.0))
    other.load_state_dict(statistics.state_dict())
    for each in (statistics, other):
        update(each, "forward", (-5.0,))
    assert statistics.state_dict() == other.state_dict()


def test_running_slope_by_hand():
    """Numerator and denominator are averaged apart; an update without different lengths tells nothing."""
    tracker = RunningSlope(0.75)
    assert tracker.slope("forward") is None
    for products, squares in ((-2.0, 8.0), (0.0, 0.0), (6.0, 4.0)):
        tracker.add("forward", torch.tensor([products, squares], dtype=torch.float64))
        tracker.hold()
        tracker.commit("forward")
    assert tracker.slope("forward") == (0.75 * -2 + 0.25 * 6) / (0.75 * 8 + 0.25 * 4)
    assert tracker.slope("noise") is None
    other = RunningSlope(0.75)
    other.load_state_dict(tracker.state_dict())
    assert other.slope("forward") == tracker.slope("forward")


def test_sums_on_the_device_are_float64_whatever_they_were():
    """Also a count beside them, of which float32 would lose the end."""
    found = on_device((2**24 + 1, torch.tensor(0.5), torch.tensor(0.1, dtype=torch.float64)))
    assert found.dtype == torch.float64 and found.tolist() == [2.0**24 + 1, 0.5, 0.1]
    assert on_device((1, 2.5)).tolist() == [1.0, 2.5]
