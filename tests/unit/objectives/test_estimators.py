"""The register of estimators: every entry against its formula, written out over the pairs."""

import math

import pytest
import torch

from fairseq_ami.objectives.estimators import ESTIMATORS

N = 5
EXTRA = {"log_baseline": torch.linspace(-1, 1, N, dtype=torch.float64), "log_xi": -0.3, "clip": 0.7}


def softplus(value):
    return math.log1p(math.exp(value))


# (joint scores, {(i, j): independent scores}, mean over the latter) -> objective, estimate
def jensen_shannon(joint, marginal):
    objective = sum(-softplus(-f) for f in joint) / N - mean(map(softplus, marginal.values()))
    return objective, sum(joint) / N - mean(map(math.exp, marginal.values())) + 1


def tuba(joint, marginal):
    a = EXTRA["log_baseline"].tolist()
    shifted = sum(f - b for f, b in zip(joint, a)) / N
    return (shifted - mean(math.exp(f - a[i]) for (i, _), f in marginal.items()) + 1,) * 2


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def donsker_varadhan(joint, marginal):
    return (sum(joint) / N - math.log(mean(map(math.exp, marginal.values()))),) * 2


def tangent(joint, marginal):
    log_xi = EXTRA["log_xi"]
    return (sum(joint) / N - math.exp(log_xi) * mean(map(math.exp, marginal.values())) + log_xi + 1,) * 2


def smile(joint, marginal):
    clipped = mean(math.exp(min(max(f, -EXTRA["clip"]), EXTRA["clip"])) for f in marginal.values())
    return jensen_shannon(joint, marginal)[0], sum(joint) / N - math.log(clipped)


def nwj(joint, marginal):
    return (sum(joint) / N - mean(math.exp(f - 1) for f in marginal.values()),) * 2


EXPECTED = {
    "dv": donsker_varadhan,
    "mine": donsker_varadhan,
    "nwj": nwj,
    "tuba": tuba,
    "js": jensen_shannon,
    "smile": smile,
    "tangent": tangent,
}


@pytest.mark.parametrize("negatives", ["all", "roll"])
@pytest.mark.parametrize("name", EXPECTED)
def test_objective_and_estimate(name, negatives):
    torch.manual_seed(0)
    scores = torch.randn(N, N, dtype=torch.float64)
    f = scores.tolist()
    joint = [f[i][i] for i in range(N)]
    places = [(i, j) for i in range(N) for j in range(N) if (i != j if negatives == "all" else j == (i + 1) % N)]
    objective, estimate = EXPECTED[name](joint, {place: f[place[0]][place[1]] for place in places})
    entry = ESTIMATORS[name]

    def value(function, needs):
        return function(scores, *([EXTRA[needs]] if needs else []), negatives).item()

    assert value(entry.objective, entry.needs) == pytest.approx(objective, abs=1e-12)
    if entry.estimate is None:
        assert estimate == objective
    else:
        assert value(entry.estimate, entry.estimate_needs) == pytest.approx(estimate, abs=1e-12)


@pytest.mark.parametrize("negatives", ["all", "roll"])
def test_infonce_takes_all_candidates_whatever_the_negatives(negatives):
    torch.manual_seed(0)
    f = torch.randn(N, N, dtype=torch.float64)
    expected = mean(math.log(math.exp(f[i, i]) / mean(f[i].exp().tolist())) for i in range(N))
    assert ESTIMATORS["infonce"].objective(f, negatives).item() == pytest.approx(expected, abs=1e-12)
    assert ESTIMATORS["infonce"].estimate is None


def test_every_entry_is_tested():
    assert {*EXPECTED, "infonce"} == set(ESTIMATORS)
