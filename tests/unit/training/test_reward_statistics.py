"""What updates tell about their rewards, against numpy on the rewards themselves."""

import numpy as np
import pytest
import torch
from unit.players import make_optimizer, make_weights, play

from fairseq_ami.training.reward_statistics import RewardStatistics

DECAY = 0.8


def optimizer():
    found = make_optimizer(make_weights(), baseline_decay=DECAY)
    found.trackers.clear()  # what it tracks for other tests
    return found


def logged(rewards, advantages, lengths, kind=""):
    """What the criterion leaves of a batch."""
    rows, sizes = (values - values.mean(1, keepdims=True) for values in (rewards, lengths))
    sums = {
        "reward_count": rewards.size,
        "reward_sum": torch.tensor(rewards.sum()),
        "reward_square": torch.tensor((rewards**2).sum()),
        "length_product": torch.tensor((rows * sizes).sum()),
        "length_square": torch.tensor((sizes**2).sum()),
    }
    if advantages is not None:
        sums.update(advantage_sum=torch.tensor(advantages.sum()), advantage_square=torch.tensor((advantages**2).sum()))
    return {kind + name: value for name, value in sums.items()}


def batch(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, (5, 4)).astype(float)
    return 0.4 * lengths + rng.normal(size=(5, 4)), rng.normal(2.0, 3.0, (5, 4)), lengths


def averaged(values):
    """The running average: the first value is taken over, the others count 1 - decay."""
    found = values[0]
    for value in values[1:]:
        found = DECAY * found + (1 - DECAY) * value
    return found


def std(batches):
    mean, square = (averaged([(values**power).mean() for values in batches]) for power in (1, 2))
    return np.sqrt(square - mean**2)


def update(statistics, inner, phase, *logs):
    """An update of as many micro-batches as *logs*."""
    for log in logs:
        statistics.add(phase, log)
    play(inner, make_weights_of(inner), [phase])


def make_weights_of(inner):
    return {name: list(one.params) for name, one in inner.optimizers.items()}


def test_pairs_and_sentences_have_statistics_of_their_own():
    inner = optimizer()
    statistics = RewardStatistics(inner, unlabelled=True, neutral=True)
    pairs, others = [batch(seed) for seed in range(3)], [batch(seed) for seed in (7, 8, 9)]
    for one, other in zip(pairs, others):
        update(statistics, inner, "forward", {**logged(*one), **logged(*other, kind="unlabelled_")})
    for kind, seen in (("", pairs), ("unlabelled_", others)):
        step = statistics.step("forward", 5, None, kind)
        rewards, advantages, lengths = zip(*seen)
        assert (step.phase, step.update, step.anchor) == ("forward", 5, None)
        assert step.reward_mean == pytest.approx(averaged([values.mean() for values in rewards]))
        assert step.reward_std == pytest.approx(std(rewards)) and step.advantage_std == pytest.approx(std(advantages))
        within = [[v - v.mean(1, keepdims=True) for v in side] for side in (lengths, rewards)]
        product = averaged([(a * b).sum() for a, b in zip(*within)])
        assert step.length_slope == pytest.approx(product / averaged([(a**2).sum() for a in within[0]]))
        other_phase = statistics.step("noise", 5, None, kind)
        assert other_phase.reward_mean is other_phase.reward_std is other_phase.length_slope is None


def test_micro_batches_are_one_update():
    one, two = optimizer(), optimizer()
    whole, parts = (RewardStatistics(inner, unlabelled=False, neutral=True) for inner in (one, two))
    rewards, advantages, lengths = batch(1)
    update(whole, one, "noise", logged(rewards, advantages, lengths))
    cut = [tuple(values[rows] for values in (rewards, advantages, lengths)) for rows in (slice(0, 2), slice(2, 5))]
    update(parts, two, "noise", *(logged(*values) for values in cut))
    got, wanted = (statistics.step("noise", 1, None) for statistics in (parts, whole))
    for name in ("reward_mean", "reward_std", "advantage_std", "length_slope"):
        assert getattr(got, name) == pytest.approx(getattr(wanted, name))


def test_nothing_is_known_before_the_first_update():
    """Nor where nobody asks: without --reward-length neutral there is no slope."""
    inner = optimizer()
    statistics = RewardStatistics(inner, unlabelled=True, neutral=False)
    for kind in statistics.kinds:
        step = statistics.step("forward", 0, None, kind)
        assert step.reward_mean is step.reward_std is step.advantage_std is step.length_slope is None
    assert set(inner.trackers) == {"rewards", "advantages", "unlabelled_rewards", "unlabelled_advantages"}
    rewards, _, lengths = batch(3)
    plain = {name: value for name, value in logged(rewards, None, lengths).items() if "length" not in name}
    update(statistics, inner, "forward", plain)
    step = statistics.step("forward", 1, None)
    assert step.reward_mean == pytest.approx(rewards.mean()) and step.advantage_std is None
    assert statistics.step("forward", 1, None, "unlabelled_").reward_mean is None


def test_a_batch_of_spare_sentences_moves_nothing():
    """It leaves zeros."""
    inner = optimizer()
    statistics = RewardStatistics(inner, unlabelled=True, neutral=True)
    seen = batch(1)
    update(statistics, inner, "forward", logged(*seen, kind="unlabelled_"))
    before = statistics.step("forward", 1, None, "unlabelled_")
    zeros = {name: 0 * value for name, value in logged(*seen, kind="unlabelled_").items()}
    update(statistics, inner, "forward", zeros)
    assert statistics.step("forward", 1, None, "unlabelled_") == before


def test_a_resume_finds_them_again():
    """Whether the state is loaded before they are asked for or after."""
    inner = optimizer()
    statistics = RewardStatistics(inner, unlabelled=True, neutral=True)
    update(statistics, inner, "forward", {**logged(*batch(1)), **logged(*batch(2), kind="unlabelled_")})
    state = inner.state_dict()
    for early in (True, False):
        other = optimizer()
        if early:
            other.load_state_dict(state)
        again = RewardStatistics(other, unlabelled=True, neutral=True)
        if not early:
            other.load_state_dict(state)
        for kind in again.kinds:
            assert again.step("forward", 4, None, kind) == statistics.step("forward", 4, None, kind)
            assert again.step("forward", 4, None, kind).length_slope is not None
