"""The importance-weighted bound by enumeration of a discrete latent variable, and the factors of DReG by hand."""

import itertools
import math

import pytest
import torch

from fairseq_ami.objectives.importance import (
    double_reparametrisation,
    importance_weighted_bound,
    with_scaled_gradient,
)

PRIOR, PROPOSAL = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]  # p(z) and q(z|x), which is far from the posterior
LIKELIHOOD = [0.9, 0.3, 0.05]  # p(x|z) of the one x
EVIDENCE = sum(p * given for p, given in zip(PRIOR, LIKELIHOOD))


def exact(samples, likelihood=LIKELIHOOD):
    """E log (1/K) sum_k p(x, z_k) / q(z_k), over every tuple of K values, with Python's numbers alone."""
    weights = [p * given / q for p, given, q in zip(PRIOR, likelihood, PROPOSAL)]
    total = 0.0
    for values in itertools.product(range(3), repeat=samples):
        probability = math.prod(PROPOSAL[z] for z in values)
        total += probability * math.log(sum(weights[z] for z in values) / samples)
    return total


def ours(samples, log_likelihood):
    """The same sum over tuples, of the tested function's values."""
    tuples = torch.tensor(list(itertools.product(range(3), repeat=samples)))
    prior, proposal = (torch.tensor(values, dtype=torch.float64).log() for values in (PRIOR, PROPOSAL))
    log_weights = (log_likelihood + prior - proposal)[tuples]
    return (proposal[tuples].sum(1).exp() * importance_weighted_bound(log_weights)).sum()


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_value_and_gradient_by_enumeration(samples):
    """The gradient for the decoder's log-probabilities against central differences of the exact expectation."""
    log_likelihood = torch.tensor(LIKELIHOOD, dtype=torch.float64).log().requires_grad_()
    value = ours(samples, log_likelihood)
    assert float(value.detach()) == pytest.approx(exact(samples), abs=1e-12)
    (gradient,) = torch.autograd.grad(value, log_likelihood)
    for z in range(3):
        ends = []
        for step in (1e-5, -1e-5):
            changed = [given * math.exp(step) if i == z else given for i, given in enumerate(LIKELIHOOD)]
            ends.append(exact(samples, changed))
        assert float(gradient[z]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-9)


def test_one_sample_is_the_elbo_and_more_come_nearer_to_the_evidence():
    elbo = sum(q * math.log(given) for q, given in zip(PROPOSAL, LIKELIHOOD))
    elbo -= sum(q * math.log(q / p) for q, p in zip(PROPOSAL, PRIOR))
    log_likelihood = torch.tensor(LIKELIHOOD, dtype=torch.float64).log()
    found = [float(ours(samples, log_likelihood)) for samples in (1, 2, 3, 4, 5)]
    assert found[0] == pytest.approx(elbo, abs=1e-12)
    assert all(low < high for low, high in zip(found, [*found[1:], math.log(EVIDENCE)]))


def test_far_weights_do_not_overflow():
    weights = torch.tensor([[-1e4, -1e4 + math.log(3.0)], [5e3, -5e3]], dtype=torch.float64)
    expected = torch.tensor([-1e4 + math.log(2.0), 5e3 - math.log(2.0)], dtype=torch.float64)
    torch.testing.assert_close(importance_weighted_bound(weights), expected)


def test_factors_of_the_double_reparametrisation():
    """v_k = w_k / sum w at weight 1; at weight beta (1 - beta) + beta v_k; one sample keeps its gradient."""
    log_weights = torch.tensor([[1.0, 3.0]], dtype=torch.float64).log().requires_grad_()
    found = double_reparametrisation(log_weights)
    assert found.tolist()[0] == pytest.approx([0.25, 0.75]) and not found.requires_grad
    assert double_reparametrisation(log_weights, 0.4).tolist()[0] == pytest.approx([0.6 + 0.1, 0.6 + 0.3])
    assert double_reparametrisation(torch.randn(3, 1)).tolist() == [[1.0]] * 3


def test_scaled_gradient():
    """The value is the same, the factor is asked for in the backward pass, and a constant passes through."""
    x, asked = torch.tensor([1.0, 2.0], requires_grad=True), []
    y = with_scaled_gradient(x, lambda: asked.append(1) or torch.tensor([3.0, 0.0]))
    assert torch.equal(y, x) and not asked
    (y * y).sum().backward()
    assert x.grad.tolist() == [6.0, 0.0] and asked == [1]
    constant = torch.ones(2)
    assert with_scaled_gradient(constant, lambda: torch.zeros(2)) is constant
