"""MMD against a double loop and a closed form; free bits against a hand count."""

import math

import pytest
import torch

from fairseq_ami.objectives.divergences import free_bits_kl, maximum_mean_discrepancy


def kernel(a, b):
    return math.exp(-sum((x - y) ** 2 for x, y in zip(a, b)) / len(a) ** 2)


def mean_kernel(xs, ys):
    return sum(kernel(a, b) for a in xs.tolist() for b in ys.tolist()) / (len(xs) * len(ys))


@pytest.mark.parametrize("sizes", [(4, 6), (5, 5), (1, 1)])
def test_mmd_is_the_double_sum(sizes):
    """Every pair, equal ones included, for samples of different sizes."""
    x, y = torch.randn(sizes[0], 3).double(), 1 + torch.randn(sizes[1], 3).double()
    expected = mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)
    assert float(maximum_mean_discrepancy(x, y)) == pytest.approx(expected, abs=1e-12)


def test_mmd_of_many_samples_is_the_closed_form():
    """E exp(-|d|^2 / s) for d ~ N(m, 2 I), s = dim^2, is prod sqrt(s / (s + 4)) exp(-m^2 / (s + 4))."""
    dim, shift, count = 2, 1.5, 2500
    x, y = torch.randn(count, dim), shift + torch.randn(count, dim)

    def expectation(m):
        return (math.sqrt(dim**2 / (dim**2 + 4)) * math.exp(-(m**2) / (dim**2 + 4))) ** dim

    expected = 2 * expectation(0.0) - 2 * expectation(shift)
    assert float(maximum_mean_discrepancy(x, y)) == pytest.approx(expected, abs=0.02)


def test_mmd_of_equal_samples():
    """Zero, with a gradient that is a number: the distance is 0 on the diagonal."""
    x = torch.randn(4, 3, requires_grad=True)
    value = maximum_mean_discrepancy(x, x.detach().clone())
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-6) and x.grad.abs().max() < 1e-6


def test_mmd_gradient():
    x, y = torch.randn(4, 3).double().requires_grad_(), torch.randn(5, 3).double()
    assert torch.autograd.gradcheck(lambda v: maximum_mean_discrepancy(v, y), x)


def test_free_bits():
    """The threshold is on the batch's mean of each dimension: (0.1 + 0.5) / 2 is lifted to 0.4, 1.0 is kept."""
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.5, 0.0, 0.0]], requires_grad=True)
    value = free_bits_kl(kl, 0.4)
    assert float(value.detach()) == pytest.approx(0.4 + 1.0 + 0.4)
    value.backward()
    assert kl.grad.tolist() == [[0.0, 0.5, 0.0], [0.0, 0.5, 0.0]]


def test_free_bits_per_sentence():
    """Each sentence's own KL of a dimension: 0.1 is lifted to 0.4 though the mean is not; the gradient is a gate."""
    kl = torch.tensor([[0.1, 2.0, 0.0], [0.9, 0.0, 0.5]], requires_grad=True)
    value = free_bits_kl(kl, 0.4, "sentence")
    assert float(value.detach()) == pytest.approx((0.4 + 2.0 + 0.4 + 0.9 + 0.4 + 0.5) / 2)
    value.backward()
    assert kl.grad.tolist() == [[0.0, 0.5, 0.0], [0.5, 0.0, 0.5]]
