"""What the criterions log."""

import math

import pytest
from fairseq.logging import metrics

from fairseq_ami.criterions.ami_report import log_metrics
from fairseq_ami.criterions.vae_report import log_vae_metrics


def perplexity(log, **sums):
    with metrics.aggregate(new_root=True) as found:
        log([{"ntokens": 10, **sums}])
    return found.get_smoothed_values()["ppl"]


@pytest.mark.parametrize("nats, expected", [(10 * math.log(8), 8.0), (7000.0, math.exp(700)), (8000.0, math.inf)])
def test_perplexity_of_a_network_that_diverged(nats, expected):
    """exp(800) is no float: the run goes on, so that its log says what happened."""
    found = perplexity(log_vae_metrics, nsentences=2, loss=nats, reconstruction=nats, kl=0.0)
    assert found == pytest.approx(expected)
    assert perplexity(log_metrics, sample_size=10, valid_nll=nats) == pytest.approx(expected)


def test_rewards_are_named_by_phase():
    """K log Q of forward updates and log Q of noise updates never share a mean, whatever an interval spans."""
    sums = {"ntokens": 4, "sample_size": 4, "loss": 1.0, "reward_count": 2, "log_q_sum": -6.0}
    forward = {**sums, "rewards_of_forward": 1, "reward_sum": -2.0, "reward_square": 10.0, "baseline_sum": -1.0}
    noise = {**sums, "rewards_of_noise": 1, "reward_sum": -8.0, "reward_square": 34.0, "baseline_sum": -5.0}
    noise.update(advantage_sum=0.0, advantage_square=8.0)
    with metrics.aggregate(new_root=True) as found:
        for logs in ([forward, forward], [noise], [forward], [noise, noise]):  # two micro-batches or workers: one phase
            log_metrics(logs)
    values = found.get_smoothed_values()
    assert (values["reward_forward"], values["reward_noise"]) == (-1.0, -4.0)
    assert (values["baseline_forward"], values["baseline_noise"]) == (-0.5, -2.5)
    assert (values["reward_std_forward"], values["reward_std_noise"]) == (2.0, 1.0)
    assert values["advantage_std_noise"] == 2.0 and "advantage_std_forward" not in values
    assert values["vim_bound"] == -3.0 and not {"reward", "baseline", "reward_std", "advantage_std"} & set(values)
