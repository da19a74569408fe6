"""Importance-weighted training on a linear Gaussian model: expectations by Gauss-Hermite quadrature or closed form."""

import math

import numpy as np
import pytest
import torch

from fairseq_ami.criterions.vae_importance import importance_weighted
from fairseq_ami.modules import DiagonalGaussian

X, SLOPE, NOISE = 1.3, 0.8, 0.6  # x = slope * z + noise * e
MEAN, LOG_VARIANCE = -0.2, -0.9  # of q, which is not the posterior
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / math.sqrt(2 * math.pi)


class Linear:
    """log p(x|z) = log N(x; slope z, noise^2); the tokens are only counted."""

    def __init__(self, slope):
        self.slope = slope

    def log_likelihood(self, tokens, z, hide=None):
        error = (X - self.slope * z[:, 0]) / NOISE
        return -0.5 * error**2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)


def exact(samples, beta, mean=MEAN, log_variance=LOG_VARIANCE, slope=SLOPE):
    """E log (1/K) sum_k p(x|z_k) (p(z_k) / q(z_k))^beta by quadrature over the K samples, numpy alone."""
    z = mean + NODES * math.exp(log_variance / 2)
    log_p = -0.5 * ((X - slope * z) / NOISE) ** 2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
    ratio = -0.5 * z**2 + 0.5 * NODES**2 + 0.5 * log_variance
    weight = np.exp(log_p + beta * ratio)
    if samples == 1:
        return float(WEIGHTS @ np.log(weight))
    return float(WEIGHTS @ np.log((weight[:, None] + weight[None, :]) / 2) @ WEIGHTS)


def ours(samples, beta, gradient, mean=MEAN, log_variance=LOG_VARIANCE):
    """Expectation of the tested estimator and of its gradients, over the same nodes: one row for each pair of them."""
    parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (mean, log_variance, SLOPE)]
    nodes, weights = torch.from_numpy(NODES), torch.from_numpy(WEIGHTS)
    noise = torch.cartesian_prod(*[nodes] * samples).view(-1, samples, 1)
    probability = torch.cartesian_prod(*[weights] * samples).view(-1, samples).prod(1)
    rows = len(noise)
    posterior = DiagonalGaussian(parameters[0].expand(rows, 1), parameters[1].expand(rows, 1))
    tokens = torch.zeros(rows, 1, dtype=torch.long)
    found = importance_weighted(Linear(parameters[2]), tokens, posterior, noise, None, beta, gradient)
    value = (probability * found.objective).sum()
    return found, value, torch.autograd.grad(value, parameters)


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
@pytest.mark.parametrize("samples, beta", [(1, 1.0), (2, 1.0), (2, 0.3), (1, 0.3)])
def test_both_gradients_are_those_of_the_expectation(samples, beta, gradient):
    """For q's mean and log-variance and for the decoder, against central differences of the exact objective."""
    _, value, found = ours(samples, beta, gradient)
    assert float(value.detach()) == pytest.approx(exact(samples, beta), abs=1e-10)
    point = {"mean": MEAN, "log_variance": LOG_VARIANCE, "slope": SLOPE}
    for (name, at), derivative in zip(point.items(), found):
        ends = [exact(samples, beta, **{name: at + step}) for step in (1e-5, -1e-5)]
        assert float(derivative) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7), name


def test_one_sample_has_the_expectation_of_the_elbo():
    """E log p(x|z) - KL in closed form."""
    variance = math.exp(LOG_VARIANCE)
    squares = (X - SLOPE * MEAN) ** 2 + SLOPE**2 * variance
    reconstruction = -0.5 * squares / NOISE**2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
    kl = 0.5 * (MEAN**2 + variance - LOG_VARIANCE - 1)
    assert float(ours(1, 1.0, "dreg")[1].detach()) == pytest.approx(reconstruction - kl, abs=1e-10)


def test_at_the_true_posterior():
    """The bound is the evidence whatever is drawn; DReG has no noise at all; Fisher's identity for the decoder."""
    variance = 1 / (1 + SLOPE**2 / NOISE**2)
    place = {"mean": variance * SLOPE * X / NOISE**2, "log_variance": math.log(variance)}
    total = SLOPE**2 + NOISE**2
    evidence = -0.5 * X**2 / total - 0.5 * math.log(2 * math.pi * total)
    found, _, gradients = ours(2, 1.0, "dreg", **place)
    torch.testing.assert_close(found.objective, torch.full((6400,), evidence, dtype=torch.float64))
    slope = SLOPE * (X**2 / total - 1) / total
    assert [float(g) for g in gradients] == pytest.approx([0, 0, slope], abs=1e-9)

    def of_each_row(gradient):
        mean = torch.full((1, 1), place["mean"], dtype=torch.float64, requires_grad=True)
        log_variance = torch.full((1, 1), place["log_variance"], dtype=torch.float64)
        noise = torch.tensor([[[0.5], [-1.5]]], dtype=torch.float64)
        posterior, tokens = DiagonalGaussian(mean, log_variance), torch.zeros(1, 1, dtype=torch.long)
        found = importance_weighted(Linear(SLOPE), tokens, posterior, noise, None, 1.0, gradient)
        return float(torch.autograd.grad(found.objective.sum(), mean)[0])

    assert abs(of_each_row("dreg")) < 1e-12 and abs(of_each_row("iwae")) > 0.1


def test_what_is_logged_is_a_bound_whatever_the_weight():
    """*bound* has weight 1 while *objective* has 0.3; the likelihood is the mean over samples."""
    found, _, _ = ours(2, 0.3, "dreg")
    weights = torch.from_numpy(np.outer(WEIGHTS, WEIGHTS).reshape(-1))
    assert float((weights * found.bound).sum()) == pytest.approx(exact(2, 1.0), abs=1e-10)
    assert not found.bound.requires_grad
    z = MEAN + NODES * math.exp(LOG_VARIANCE / 2)
    expected = WEIGHTS @ (-0.5 * ((X - SLOPE * z) / NOISE) ** 2) - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
    assert float((weights * found.log_likelihood.detach()).sum()) == pytest.approx(float(expected), abs=1e-10)
