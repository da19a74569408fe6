"""Dirichlet distributions against torch's, scipy's, numerical integration, and moments in closed form."""

import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Dirichlet as TorchDirichlet
from torch.distributions import kl_divergence
from torch.nn.functional import softplus

from fairseq_ami.modules.dirichlet import Dirichlet
from fairseq_ami.modules.latent_heads import LEAST_CONCENTRATION
from fairseq_ami.random_streams import stream_keys

ALPHA = torch.tensor([[0.5, 2.0, 1.3], [7.0, 0.1, 1.0]], dtype=torch.float64)
OTHER = torch.tensor([[1.5, 0.2, 3.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
MANY = 40000


def keys(rows, seed=1):
    return stream_keys(seed, 0, 0, torch.arange(rows), 1)


def test_kl_against_torch_and_the_uniform_prior():
    found = Dirichlet(ALPHA)
    torch.testing.assert_close(found.kl(Dirichlet(OTHER)), kl_divergence(TorchDirichlet(ALPHA), TorchDirichlet(OTHER)))
    uniform = TorchDirichlet(torch.ones(2, 3).double())
    torch.testing.assert_close(found.kl(), kl_divergence(TorchDirichlet(ALPHA), uniform))
    torch.testing.assert_close(found.kl(found), torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_kl_of_two_dimensions_is_an_integral_over_beta_densities():
    q, p = stats.beta(0.8, 2.5), stats.beta(3.0, 1.2)
    expected, _ = integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), 0, 1)
    found = Dirichlet(torch.tensor([[0.8, 2.5]]).double()).kl(Dirichlet(torch.tensor([[3.0, 1.2]]).double()))
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_density_and_mean():
    z = torch.tensor([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]]).double()
    found = Dirichlet(ALPHA)
    torch.testing.assert_close(found.log_prob(z.log()), TorchDirichlet(ALPHA).log_prob(z))
    torch.testing.assert_close(found.mean, TorchDirichlet(ALPHA).mean)
    torch.testing.assert_close(found.value(z.log()), z)


@pytest.mark.parametrize("alpha", [(0.05, 0.3), (1.0, 4.0), (30.0, 2.0)])
def test_samples_have_the_distribution(alpha):
    """One coordinate of two is Beta."""
    drawn = Dirichlet(torch.tensor([alpha]).double().expand(MANY, 2)).draw(keys(MANY)).exp()
    assert stats.kstest(drawn[:, 0].numpy(), stats.beta(*alpha).cdf).pvalue > 0.001
    torch.testing.assert_close(drawn.sum(1), torch.ones(MANY).double())


def test_a_row_does_not_depend_on_the_others():
    whole = Dirichlet(ALPHA.repeat(3, 1)).draw(keys(6))
    torch.testing.assert_close(Dirichlet(ALPHA[:1]).draw(keys(6)[4:5]), whole[4:5])
    assert not torch.equal(whole[0], whole[2])


@pytest.mark.parametrize("power", [1, 2])
def test_pathwise_gradient_of_moments(power):
    """dE[z_k^n]/da_j: of the closed forms E[z_k] = a_k / a_0 and E[z_k^2] = a_k (a_k + 1) / (a_0 (a_0 + 1))."""
    alpha = torch.tensor([0.6, 1.7, 3.0]).double()
    leaf = alpha.repeat(MANY, 1).requires_grad_()
    moments = Dirichlet(leaf).draw(keys(MANY)).exp().pow(power)
    for k in range(3):
        exact = alpha.clone().requires_grad_()
        total = exact.sum()
        value = exact[k] / total if power == 1 else exact[k] * (exact[k] + 1) / (total * (total + 1))
        (expected,) = torch.autograd.grad(value, exact)
        (each,) = torch.autograd.grad(moments[:, k].sum(), leaf, retain_graph=True)
        error = each.std(0) / MANY**0.5
        assert ((each.mean(0) - expected).abs() < 3.5 * error).all(), (k, each.mean(0), expected, error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1e-3, 1e-2, 1.0, 1e3])
def test_finite_at_any_size(size, dtype):
    """Points, densities, divergences and gradients, also where all of the mass is on the edges."""
    sizes = torch.tensor([[size, 1.0, size], [size, size, size]]).repeat(200, 1)
    raw = torch.where(sizes > 20, sizes, sizes.expm1().log())  # what softplus makes these sizes of
    leaf = raw.to(dtype).requires_grad_()
    found = Dirichlet(softplus(leaf.float()) + LEAST_CONCENTRATION)
    drawn = found.draw(keys(400))
    z, density = found.value(drawn), found.log_prob(drawn)
    assert drawn.dtype == torch.float32 and density.isfinite().all() and drawn.isfinite().all()
    torch.testing.assert_close(z.sum(1), torch.ones(400), atol=1e-5, rtol=0)
    (z[:, 0].sum() + density.sum() + found.kl().sum() + found.kl(Dirichlet(sizes + 1)).sum()).backward()
    assert leaf.grad.isfinite().all()
