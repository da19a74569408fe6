"""The gaps of a linear Gaussian model, whose exact posterior and best diagonal Gaussian are known."""

import math

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from scipy.stats import multivariate_normal
from torch.distributions import Normal
from unit.tiny_vae import Lines, make_vae

from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.errors import AMIError
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.tools.text_vae.gaps import Gaps, Optimisation, measure_gaps, optimised_posterior, overfit
from fairseq_ami.tools.text_vae.likelihood import Settings

NOISE, COUNT = 0.7, 60
W = torch.tensor([[1.0, 0.6], [0.0, 0.9], [0.4, -0.2]], dtype=torch.float64)  # x = W z + noise; z is two numbers
PRECISION = torch.eye(2).double() + W.T @ W / NOISE**2  # of the exact posterior
# KL of the best diagonal Gaussian (the same mean, the precision's diagonal) to the exact posterior
APPROXIMATION = 0.5 * float(PRECISION.diagonal().log().sum() - torch.logdet(PRECISION))
SHIFT, WIDTH = 0.4, 0.8  # what the encoder gets wrong: the mean, and the log-variance


class Linear(torch.nn.Module):
    """Says of sentence i what the linear Gaussian model says of x_i, with an encoder that is off by a known KL."""

    latent_dim = 2

    def __init__(self, off=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        z, error = (torch.randn(COUNT, size, generator=generator, dtype=torch.float64) for size in (2, 3))
        self.x, self.off = z @ W.T + NOISE * error, off
        self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def posterior(self, tokens):
        mean = self.x[tokens[:, 0] - 4] @ W / NOISE**2 @ torch.linalg.inv(PRECISION).T
        log_variance = -PRECISION.diagonal().log().expand_as(mean)
        return DiagonalGaussian(mean + self.off * SHIFT, log_variance + self.off * WIDTH), mean

    def log_likelihood(self, tokens, z):
        return Normal(self.weight * z @ W.T, NOISE).log_prob(self.x[tokens[:, 0] - 4]).sum(1)

    def max_positions(self):
        return 10


def sentences():
    """COUNT sentences of the word of that number, 0 to 2 fillers and the end symbol."""
    dictionary = Dictionary()
    words = [dictionary.add_symbol(f"w{i}") for i in range(COUNT)]
    filler = dictionary.add_symbol("-")
    return SentenceDataset(
        Lines(torch.tensor([w] + [filler] * (i % 3) + [2]) for i, w in enumerate(words)), dictionary, shuffle=False
    )


def gaps(model, how, **settings):
    settings = {"iw_samples": 200, "max_tokens": 4000, **settings}
    return measure_gaps(model, sentences(), "test", Settings(**settings), how, lambda items, what: items)


def test_every_gap_of_the_linear_gaussian_model():
    """Amortisation: what separates the encoder from the best diagonal Gaussian; approximation: what that one lacks."""
    model = Linear()
    found = gaps(model, Optimisation(steps=120, rate=0.1, sentences=0))
    covariance = (W @ W.T + NOISE**2 * torch.eye(3).double()).numpy()
    evidence = multivariate_normal(np.zeros(3), covariance).logpdf(model.x.numpy()).mean()
    shift = torch.full((2,), SHIFT).double()
    # -ELBO grows by half the quadratic form of the shift, and for each dimension by half (e^w - w - 1)
    amortisation = 0.5 * float(shift @ PRECISION @ shift) + 0.5 * 2 * (math.exp(WIDTH) - WIDTH - 1)
    assert found.sentences == COUNT and found.text == "test"
    assert found.iw_nll == pytest.approx(-evidence, abs=0.03)
    assert found.nll == pytest.approx(-evidence + APPROXIMATION + amortisation, abs=0.05)
    assert found.svi_nll == pytest.approx(-evidence + APPROXIMATION, abs=0.05)
    assert found.amortisation == pytest.approx(amortisation, abs=0.05)
    assert found.approximation == pytest.approx(APPROXIMATION, abs=0.05) and APPROXIMATION > 0.05
    assert found.amortisation + found.approximation == pytest.approx(found.nll - found.iw_nll)
    assert 0 < found.amortisation_error < 0.1
    assert model.weight.requires_grad and model.weight.grad is None


def test_a_perfect_encoder_has_no_amortisation_gap():
    found = gaps(Linear(off=0.0), Optimisation(steps=100, sentences=0))
    assert found.amortisation == pytest.approx(0, abs=0.03)


def test_without_importance_weights_there_is_no_approximation_gap():
    found = gaps(Linear(), Optimisation(steps=1, sentences=5), iw_samples=0)
    assert found.iw_nll is None and found.approximation is None and found.sentences == 5


def test_sentences_do_not_depend_on_each_other():
    """A sentence alone, in batches of other sizes and in a smaller set gets the same posterior."""
    model, data = Linear(), sentences()
    how = Optimisation(steps=7)

    def optimised(rows):
        part = data.select(np.array(rows))
        batch = part.collater([part[index] for index in range(len(rows))])
        return optimised_posterior(model, batch, model.posterior(batch["target"])[0], how, seed=1)

    together, alone = optimised([3, 8, 20]), optimised([8])
    torch.testing.assert_close(together.mean[1], alone.mean[0])
    torch.testing.assert_close(together.log_variance[1], alone.log_variance[0])
    few, many = (gaps(model, how, max_tokens=size) for size in (32, 4000))
    assert few.svi_nll == pytest.approx(many.svi_nll, abs=1e-6) and few.nll == pytest.approx(many.nll, abs=1e-6)


def test_a_real_model_gains():
    """An untrained text VAE with an arbitrary encoder: more steps are better, and the weights are left alone."""
    model = make_vae("lstm", spread=2.0).eval()
    dictionary = model.dictionary
    lines = Lines(torch.tensor([4 + (i + k) % 4 for k in range(1 + i % 5)] + [2]) for i in range(30))
    data = SentenceDataset(lines, dictionary, shuffle=False)
    with torch.no_grad():
        model.posterior_heads.bias.add_(1.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = [
        measure_gaps(model, data, "test", Settings(iw_samples=20), Optimisation(steps, sentences=0), lambda a, b: a)
        for steps in (1, 10, 60)
    ]
    assert found[0].nll == found[2].nll and found[0].svi_nll > found[1].svi_nll > found[2].svi_nll
    assert found[2].amortisation > 1 and found[2].approximation > -0.05
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_long_sentences_are_left_out():
    model = Linear()
    model.max_positions = lambda: 3
    found = gaps(model, Optimisation(steps=1, sentences=0))
    assert found.sentences == COUNT * 2 // 3
    model.max_positions = lambda: 1
    with pytest.raises(AMIError, match="no sentence of test is short enough"):
        gaps(model, Optimisation(steps=1))


def test_overfit():
    test, training = (Gaps("", 1, 0.0, 0.0, None, value, 0.1, None) for value in (1.5, 0.9))
    assert overfit(test, training) == pytest.approx(0.6)
