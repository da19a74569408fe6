"""Diagonal Gaussians against torch's distributions."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.random_streams import normal, stream_keys


@pytest.fixture
def parts():
    return torch.randn(5, 3).double() * 2, torch.randn(5, 3).double() * 2


def reference(mean, log_variance):
    return Independent(Normal(mean, log_variance.exp().sqrt()), 1)


def test_kl_entropy_and_density(parts):
    """Closed forms; z of the mean's shape, and many z at once."""
    q, normal = DiagonalGaussian(*parts), reference(*parts)
    prior = reference(torch.zeros(5, 3).double(), torch.zeros(5, 3).double())
    torch.testing.assert_close(q.kl(), kl_divergence(normal, prior))
    torch.testing.assert_close(q.kl_by_dimension(), kl_divergence(normal.base_dist, prior.base_dist))
    torch.testing.assert_close(q.entropy(), normal.entropy())
    z = torch.randn(7, 5, 3).double()
    torch.testing.assert_close(q.log_prob(z[0]), normal.log_prob(z[0]))
    torch.testing.assert_close(q.log_prob(z), normal.log_prob(z))


def test_kl_of_the_prior_itself_is_zero():
    assert DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3)).kl().tolist() == [0.0, 0.0]


def test_kl_to_another_gaussian(parts):
    """That of a prior which depends on something; 0 to itself; the standard normal is the default."""
    other = (torch.randn(5, 3).double(), torch.randn(5, 3).double())
    q = DiagonalGaussian(*parts)
    torch.testing.assert_close(q.kl(DiagonalGaussian(*other)), kl_divergence(reference(*parts), reference(*other)))
    torch.testing.assert_close(q.kl(q), torch.zeros(5).double())
    zeros = torch.zeros(5, 3).double()
    torch.testing.assert_close(q.kl(DiagonalGaussian(zeros, zeros)), q.kl())


def test_draws_by_key(parts):
    """The stream's own normal numbers; a row alone gives the same sample."""
    q, keys = DiagonalGaussian(*parts), stream_keys(1, 0, 0, torch.arange(5), 1)
    noise = normal(keys, 1, 3)[:, 0].double()
    torch.testing.assert_close(q.draw(keys), parts[0] + noise * parts[1].exp().sqrt())
    alone = DiagonalGaussian(parts[0][3:4], parts[1][3:4])
    torch.testing.assert_close(alone.draw(keys[3:4])[0], q.draw(keys)[3])
    assert q.value(noise) is noise


def test_samples(parts):
    """Mean plus noise times standard deviation, with the gradient that says; drawn noise is standard normal."""
    mean, log_variance = (part.requires_grad_() for part in parts)
    noise = torch.randn(5, 3).double()
    sample = DiagonalGaussian(mean, log_variance).sample(noise)
    torch.testing.assert_close(sample, mean + noise * log_variance.exp().sqrt())
    sample.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones_like(mean))
    torch.testing.assert_close(log_variance.grad, 0.5 * noise * log_variance.exp().sqrt())
    many = DiagonalGaussian(torch.full((20000, 2), 3.0), torch.full((20000, 2), 4.0).log()).sample()
    assert many.mean(0).tolist() == pytest.approx([3.0, 3.0], abs=5 * 2 / 20000**0.5)
    assert many.std(0).tolist() == pytest.approx([2.0, 2.0], abs=0.06)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    """e^12 overflows float16; the value is that of float32 for the rounded parameters."""
    mean, log_variance = torch.tensor([[1.0, -2.0]], dtype=dtype), torch.tensor([[12.0, -3.0]], dtype=dtype)
    q = DiagonalGaussian(mean, log_variance)
    expected = 0.5 * (1 + 4 + torch.tensor([12.0, -3.0]).exp().sum() - 9 - 2)
    assert q.kl().dtype == q.sample().dtype == q.log_prob(mean).dtype == torch.float32
    assert float(q.kl()) == pytest.approx(float(expected), rel=1e-6)


def test_double_precision_stays(parts):
    q = DiagonalGaussian(*parts)
    found = (q.kl(), q.entropy(), q.sample(), q.sample(torch.zeros(5, 3)), q.log_prob(parts[0]))
    assert all(value.dtype == torch.float64 for value in found)
