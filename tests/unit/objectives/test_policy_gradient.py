"""Minimum risk, distinct samples and length-neutral rewards, against sums written out by hand."""

import math

import pytest
import torch

from fairseq_ami.objectives import advantages, first_of_its_kind, minimum_risk_loss, within_source, without_length

LOG_P = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -3.0, -1.0]], dtype=torch.float64)
REWARDS = torch.tensor([[0.2, 0.9, -0.4], [1.0, 0.0, 0.5]], dtype=torch.float64)


def expected_reward(log_p, rewards, alpha, keep):
    """sum_y P(y)^alpha r(y) / sum_y P(y)^alpha over the kept samples of one source, with Python's floats."""
    weights = [math.exp(alpha * p) if kept else 0.0 for p, kept in zip(log_p, keep)]
    return sum(w * r for w, r in zip(weights, rewards)) / sum(weights)


@pytest.mark.parametrize("alpha", [1.0, 0.005, 0.3])
@pytest.mark.parametrize("keep", [[True, True, True], [True, False, True]])
def test_minimum_risk_is_the_expected_reward_of_the_samples(alpha, keep):
    """Value and gradient of Shen et al.'s equations 11 and 12; the gradient by central differences of the sums."""
    log_p = LOG_P.clone().requires_grad_()
    distinct = torch.tensor([keep, keep])
    loss = minimum_risk_loss(log_p, REWARDS, alpha, distinct)
    rows = [(LOG_P[i].tolist(), REWARDS[i].tolist()) for i in range(2)]
    assert loss.tolist() == pytest.approx([-expected_reward(p, r, alpha, keep) for p, r in rows], abs=1e-12)
    loss.sum().backward()
    step = 1e-5
    for i, (p, r) in enumerate(rows):
        for j in range(3):
            up, down = ([value + sign * step * (n == j) for n, value in enumerate(p)] for sign in (1, -1))
            slope = (expected_reward(up, r, alpha, keep) - expected_reward(down, r, alpha, keep)) / (2 * step)
            assert log_p.grad[i, j].item() == pytest.approx(-slope, abs=1e-9)


def test_a_baseline_changes_nothing_under_minimum_risk():
    """The probabilities sum to one: a constant on the rewards of a source has no gradient."""
    grads = []
    for shift in (0.0, 7.0):
        log_p = LOG_P.clone().requires_grad_()
        minimum_risk_loss(log_p, REWARDS + shift, 0.7).sum().backward()
        grads.append(log_p.grad)
    assert torch.allclose(*grads, atol=1e-12) and grads[0].abs().max() > 0.01


def test_distinct_samples():
    """The first of equal samples counts; padding is part of the comparison; sources do not see each other."""
    tokens = torch.tensor([[5, 2, 1], [5, 2, 1], [6, 2, 1], [5, 2, 1], [5, 5, 2], [5, 2, 1]])
    assert first_of_its_kind(tokens, 3).tolist() == [[True, False, True], [True, True, False]]


def test_rewards_that_are_linear_in_length_teach_nothing():
    """With the true slope every advantage is 0, exactly, whatever the level of each source."""
    lengths = torch.tensor([[3, 5, 9], [4, 4, 6]])
    levels = torch.tensor([[-2.0], [8.0]])
    rewards = levels + 0.25 * lengths
    assert advantages(rewards, None).abs().max() > 0.5
    assert torch.equal(advantages(without_length(rewards, lengths, 0.25), None), torch.zeros(2, 3))


def test_what_is_left_keeps_its_mean_and_is_uncorrelated_with_length():
    """The slope of a least-squares fit within sources (numpy's) leaves nothing that is linear in length."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 20, (50, 4), generator=generator)
    rewards = torch.randn(50, 4, generator=generator).double() - 0.3 * lengths
    centred = within_source(lengths.double()).flatten()
    slope = torch.linalg.lstsq(centred.unsqueeze(1), within_source(rewards).reshape(-1, 1)).solution.item()
    left = without_length(rewards, lengths, slope)
    assert torch.allclose(left.mean(1), rewards.mean(1))
    assert (within_source(left).flatten() @ centred).abs() < 1e-9
