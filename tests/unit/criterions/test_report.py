"""What the criterions log."""

import math

import numpy as np
import pytest
import torch
from fairseq.logging import metrics

from fairseq_ami.criterions.ami_report import log_metrics
from fairseq_ami.criterions.ami_rewards import Rewards, _labels
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


def values_of(*logs):
    with metrics.aggregate(new_root=True) as found:
        log_metrics(list(logs))
    return found.get_smoothed_values()


def of_rewards(prefix="", phase="forward", **rewards):
    """What the criterion leaves of rewards (sources, samples) by name."""
    log = {f"rewards_of_{phase}": 1}
    for label, values in rewards.items():
        Rewards._log(log, f"reward_{label}", torch.tensor(values))
    return {prefix + name: value for name, value in log.items()}


def test_each_reward_by_its_name():
    """Mean, standard deviation of the sources' means, and standard deviation around them, over micro-batches and
    workers together."""
    rng = np.random.default_rng(3)
    rewards = {
        label: (rng.normal(size=(7, 1)) * between + rng.normal(size=(7, 4)) * within + mean).astype(np.float32)
        for label, mean, between, within in (
            ("log-q", -2.0, 1.0, 0.1),
            ("chrf", 0.4, 0.05, 0.2),
            ("same", 3.0, 0.0, 0.0),
        )
    }
    parts = [{label: values[rows] for label, values in rewards.items()} for rows in (slice(0, 2), slice(2, 7))]
    found = values_of(*(of_rewards(**part) for part in parts))
    for label, values in rewards.items():
        values = values.astype(np.float64)
        expected = {
            "": values.mean(),
            "_between": values.mean(1).std(),
            "_within": np.sqrt(((values - values.mean(1, keepdims=True)) ** 2).mean()),
        }
        for ending, wanted in expected.items():
            assert found[f"reward_{label}{ending}_forward"] == pytest.approx(wanted, abs=6e-5)  # four digits are logged
    assert found["reward_same_between_forward"] == found["reward_same_within_forward"] == 0


def test_rewards_of_sentences_have_names_of_their_own():
    pairs, others = np.array([[1.0, 3.0]]), np.array([[5.0, 5.0], [9.0, 9.0]])
    sums = {"reward_count": 4, "reward_sum": 28.0, "reward_square": 212.0, "log_q_sum": -8.0}
    log = {**of_rewards(f=pairs), **of_rewards("unlabelled_", f=others)}
    log.update({f"unlabelled_{name}": value for name, value in sums.items()})
    found = values_of(log)
    assert (found["reward_f_forward"], found["reward_f_within_forward"], found["reward_f_between_forward"]) == (2, 1, 0)
    assert found["unlabelled_reward_f_forward"] == 7 and found["unlabelled_reward_f_between_forward"] == 2
    assert (found["unlabelled_reward_forward"], found["unlabelled_reward_std_forward"]) == (7, 2)
    assert found["unlabelled_vim_bound"] == -2 and "vim_bound" not in found and "reward_forward" not in found


def test_nothing_is_logged_of_spare_sentences_alone():
    """Their sums are zeros."""
    zeros = {name: 0 * value for name, value in of_rewards("unlabelled_", f=np.ones((2, 2))).items()}
    found = values_of({**of_rewards(f=np.ones((2, 2))), **zeros, "unlabelled_reward_count": 0})
    assert found["reward_f_forward"] == 1 and not any(name.startswith("unlabelled_") for name in found)


def test_anchor_divergence_per_sample():
    assert (
        values_of({"reward_count": 8, "anchor_divergence": 2.0, "rewards_of_forward": 1})["anchor_divergence"] == 0.25
    )


def test_labels_of_rewards():
    """The function's name, unless another one shares it."""
    names = ["log-q", "chrf", "mine:fluency", "mine:chrf", "a.b:same", "c:same"]
    assert list(_labels(names).values()) == [
        "reward_log-q", "reward_chrf", "reward_fluency", "reward_mine:chrf", "reward_a.b:same", "reward_c:same",
    ]  # fmt: skip
