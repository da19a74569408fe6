"""Latent metrics against a linear-Gaussian model, whose every quantity is known, and against enumerable ones."""

import math

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.errors import AMIError
from fairseq_ami.metrics import latent
from fairseq_ami.metrics.latent import active_units, aggregate, aggregated_log_prob, critic_bounds, log_mean_exp
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.tools.text_vae.likelihood import Settings, measure

# x = W z + noise, z ~ N(0, I). Orthogonal columns of W make the posteriors diagonal.
STRENGTHS = torch.tensor([2.0, 0.8, 0.0], dtype=torch.float64)  # the last unit of z does nothing
ROTATION = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64))[0]
W = ROTATION[:, :3] * STRENGTHS
NOISE = 0.7
INFORMATION = float(0.5 * (1 + STRENGTHS**2 / NOISE**2).log().sum())


def draw_x(count):
    torch.manual_seed(1)
    return torch.randn(count, 3, dtype=torch.float64) @ W.T + NOISE * torch.randn(count, 4, dtype=torch.float64)


def exact_posterior(x):
    variance = 1 / (1 + STRENGTHS**2 / NOISE**2)
    return DiagonalGaussian(x @ W * variance / NOISE**2, variance.log().expand(len(x), 3))


def log_evidence(x):
    return multivariate_normal(np.zeros(4), (W @ W.T + NOISE**2 * torch.eye(4)).numpy()).logpdf(x.numpy())


def log_likelihood(x, z):
    return Normal(z.double() @ W.T, NOISE).log_prob(x).sum(-1)


# ---------------------------------------------------------------------- the aggregated posterior


def test_aggregated_density_is_the_mixture(monkeypatch):
    """Against torch's mixture, whatever the number of rows at a time, far from the origin, with narrow posteriors."""
    torch.manual_seed(2)
    posterior = DiagonalGaussian(torch.randn(9, 5).double() + 50, torch.randn(9, 5).double() * 4 - 5)
    z = torch.cat([posterior.sample(), torch.randn(4, 5).double() + 50])
    parts = Independent(Normal(posterior.mean, (0.5 * posterior.log_variance).exp()), 1)
    expected = MixtureSameFamily(Categorical(torch.ones(9).double()), parts).log_prob(z)
    for cells in (1, 20, 10**6):
        monkeypatch.setattr(latent, "_MATRIX_CELLS", cells)
        torch.testing.assert_close(aggregated_log_prob(posterior, z), expected, rtol=1e-9, atol=1e-9)


def test_information_of_the_linear_gaussian_model():
    """I(x; z) = half the sum of log(1 + w^2 / noise^2), and q(z) is the prior; KL is their sum."""
    posterior = exact_posterior(draw_x(4000))
    z = posterior.sample()
    found = aggregate(posterior, z)
    assert found.information == pytest.approx(INFORMATION, abs=0.06)
    assert found.paired_information == pytest.approx(INFORMATION, abs=0.06)
    assert found.divergence == pytest.approx(0, abs=0.03)
    kl = float(posterior.kl().mean())
    assert kl == pytest.approx(INFORMATION, abs=0.05)
    assert found.information + found.divergence == pytest.approx(kl, abs=0.05)


def test_information_of_a_discrete_latent_variable():
    """Posteriors like points in 3 places tell the place: I is its entropy; the prior's log-density is known there."""
    places = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]).double()
    which = torch.tensor([0] * 10 + [1] * 5 + [2] * 5)
    posterior = DiagonalGaussian(places[which], torch.full((20, 2), -8.0).double())
    z = posterior.sample(torch.zeros(20, 2).double())
    entropy = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    found = aggregate(posterior, z)
    assert found.paired_information == pytest.approx(entropy, abs=1e-9)
    # at the mean log q(z|x) lies one half a dimension above the negative entropy
    assert found.information == pytest.approx(entropy - 1.0, abs=1e-9)
    log_q = -math.log(2 * math.pi) + 8.0 - entropy
    log_p = -math.log(2 * math.pi) - 0.5 * 0.5 * 100.0**2
    assert found.divergence == pytest.approx(log_q - log_p, rel=1e-9)


def test_collapsed_and_copying_models():
    """No information at all, and all there can be: log N."""
    torch.manual_seed(3)
    collapsed = DiagonalGaussian(torch.zeros(3000, 4), torch.zeros(3000, 4))
    found = aggregate(collapsed, collapsed.sample())
    assert float(collapsed.kl().abs().max()) == 0 and active_units(collapsed.mean) == 0
    assert found.paired_information == pytest.approx(0, abs=1e-9)
    sampling_error = math.sqrt(4 / 2 / 3000)  # of the mean log-density of 4 normal numbers
    assert abs(found.information) < 4 * sampling_error and abs(found.divergence) < 1e-9
    copying = DiagonalGaussian(100.0 * torch.arange(32.0).unsqueeze(1).repeat(1, 4), torch.zeros(32, 4))
    found = aggregate(copying, copying.sample())
    assert found.paired_information == pytest.approx(math.log(32), abs=1e-9)
    assert found.information == pytest.approx(math.log(32), abs=4 * math.sqrt(4 / 2 / 32))


def test_active_units():
    """The posterior mean's variance is w^2 / (w^2 + noise^2), at least 0.01 for two of the three units; N - 1 below."""
    assert active_units(exact_posterior(draw_x(1000)).mean) == 2
    assert active_units(1e4 + torch.tensor([[0.0, 0.0], [0.142, 0.141]])) == 1  # 0.142^2 / 2 > 0.01 > 0.141^2 / 2
    assert active_units(torch.ones(1, 3)) == 0


# ---------------------------------------------------------------------- importance weights


def test_importance_weights_of_every_value_give_the_evidence():
    """z listed once under a uniform proposal: the mean of p(x, z) / q(z) is the sum of p(x, z)."""
    joint = torch.rand(4, 6, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights = joint.log() + math.log(6)
    found = log_mean_exp([weights[:, :1], weights[:, 1:4], weights[:, 4:]])
    torch.testing.assert_close(found, joint.sum(1).log())
    torch.testing.assert_close(log_mean_exp([weights.float() - 1e4]), joint.sum(1).log() - 1e4, atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match="no samples"):
        log_mean_exp([])


# ---------------------------------------------------------------------- the critic's bounds


def test_bounds_by_hand():
    """Two batches of two rows."""
    scores = [torch.tensor([[1.0, 0.0], [math.log(3.0), 2.0]]), torch.tensor([[0.5, math.log(5.0)], [0.0, 1.5]])]
    found = critic_bounds(scores)
    assert found.donsker_varadhan == pytest.approx(0.5 * (1.5 - math.log(2)) + 0.5 * (1.0 - math.log(3)), abs=1e-6)
    assert found.tangent == pytest.approx(1.25 - math.log(2.5), abs=1e-6)
    # equation 12 at its best xi
    best = minimize_scalar(lambda xi: -(1.25 - xi * 2.5 + math.log(xi) + 1), bounds=(1e-3, 10), method="bounded")
    assert found.tangent == pytest.approx(-best.fun, abs=1e-6)
    with pytest.raises(ValueError):
        critic_bounds([])


def test_bounds_with_the_best_critic():
    """f = log p(x, z) / p(x) p(z) of correlated Gaussians reaches I = -log(1 - rho^2) / 2."""
    torch.manual_seed(5)
    rho = 0.8
    x = torch.randn(200, 32).double()
    z = rho * x + math.sqrt(1 - rho**2) * torch.randn(200, 32).double()
    batches = []
    for a, b in zip(x, z):
        conditional = Normal(rho * a.unsqueeze(1), math.sqrt(1 - rho**2)).log_prob(b)
        batches.append(conditional - Normal(0.0, 1.0).log_prob(b))
    found, expected = critic_bounds(batches), -0.5 * math.log(1 - rho**2)
    assert found.tangent == pytest.approx(expected, abs=0.04)
    assert found.tangent < found.donsker_varadhan < expected + 0.1


# ---------------------------------------------------------------------- a whole data set


class Lines(list):
    """What fairseq's indexed data sets are to a SentenceDataset."""

    @property
    def sizes(self):
        return np.array([len(line) for line in self])


def sentences(count):
    """count sentences: the word of that number, then 0 to 2 fillers, then the end symbol; and their tokens."""
    dictionary = Dictionary()
    words = [dictionary.add_symbol(f"w{i}") for i in range(count)]
    filler = dictionary.add_symbol("-")
    lines = [torch.tensor([word] + [filler] * (i % 3) + [2]) for i, word in enumerate(words)]
    return SentenceDataset(Lines(lines), dictionary, shuffle=False), sum(2 + i % 3 for i in range(count))


class LinearGaussian(torch.nn.Module):
    """Says of sentence i what the linear-Gaussian model says of x_i; every other posterior may be too broad."""

    latent_dim, critic = 3, None

    def __init__(self, x, broader=0.0):
        super().__init__()
        self.x, self.broader, self.widths = x, broader, []
        self.encoder = torch.nn.Linear(1, 1)
        self.encoder.output_size = 4

    def data(self, tokens):
        assert tokens[:, 0].ge(4).all()
        self.widths.append(tokens.numel())
        return self.x[tokens[:, 0] - 4]

    def posterior(self, tokens):
        x = self.data(tokens)
        exact = exact_posterior(x)
        broader = self.broader * (tokens[:, :1] % 2)
        return DiagonalGaussian(exact.mean.float(), exact.log_variance.float() + broader), x.float()

    def log_likelihood(self, tokens, z):
        return log_likelihood(self.data(tokens), z).float()

    def max_positions(self):
        return 10


def test_every_figure_of_the_linear_gaussian_model():
    """NLL and IW-NLL equal the evidence where the posterior is exact, for any number of samples and of tokens."""
    x = draw_x(100)
    dataset, tokens = sentences(100)
    evidence = log_evidence(x)
    for samples, max_tokens in ((1, 8), (7, 1000), (50, 40)):
        model = LinearGaussian(x)
        found = measure(model, dataset, Settings(iw_samples=samples, max_tokens=max_tokens))
        assert max(model.widths) <= max_tokens
        assert (found.sentences, found.tokens) == (100, tokens)
        assert found.iw_nll == pytest.approx(-evidence.mean(), abs=1e-4)
        assert found.iw_ppl == pytest.approx(math.exp(-evidence.sum() / tokens), rel=1e-4)
        assert found.kl == pytest.approx(float(exact_posterior(x).kl().mean()), rel=1e-5)
        # log p(x|z) at one z a sentence, plus the closed KL: the evidence but for the noise of z
        assert found.nll == pytest.approx(-evidence.mean(), abs=0.3)
        assert found.ppl == pytest.approx(math.exp(found.nll * 100 / tokens), rel=1e-6)
        assert found.active_units == 2
        assert found.donsker_varadhan is None and found.tangent is None
        assert found.mi <= math.log(100) and found.mi == pytest.approx(INFORMATION, abs=0.4)
        assert found.mi_entropy == pytest.approx(found.mi, abs=4 * math.sqrt(3 / 2 / 100))
        assert found.mi_entropy + found.marginal_kl == pytest.approx(found.kl, abs=4 * math.sqrt(3 / 2 / 100))


def test_importance_weights_with_another_posterior():
    """One sample: off by KL(q || exact posterior); many: tight. The samples do not depend on how they are batched."""
    x = draw_x(1000)
    dataset, _ = sentences(1000)
    exact = -log_evidence(x).mean()
    found = [
        measure(LinearGaussian(x, 0.7), dataset, Settings(iw_samples=samples, max_tokens=max_tokens)).iw_nll
        for samples, max_tokens in ((1, 3000), (300, 100_000), (300, 7777))
    ]
    divergence = 0.5 * 3 * 0.5 * (math.exp(0.7) - 0.7 - 1)  # of every other sentence
    spread = math.sqrt(3 * 0.5) * (math.exp(0.7) - 1)  # of one log-weight
    assert found[0] == pytest.approx(exact + divergence, abs=4 * spread / math.sqrt(1000))
    assert found[1] == pytest.approx(exact, abs=0.005)
    assert found[2] == pytest.approx(found[1], abs=1e-5)


class Copying(LinearGaussian):
    """Each sentence has a point of its own."""

    def posterior(self, tokens):
        places = (tokens[:, :1] - 4).float().expand(-1, 3)
        return DiagonalGaussian(places, torch.full_like(places, -9.0)), places

    def log_likelihood(self, tokens, z):
        return z.sum(1)

    @staticmethod
    def critic(features, z):
        """log 7 for what belongs together: both bounds are log 7."""
        assert len(features) == len(z) == 32
        return (features[:, :1] - z[:, 0]).abs().lt(0.5) * math.log(7.0)


def test_mutual_information_of_batches():
    """A copying model knows the sentence: log of the batch's size, log of the set's size; whole batches only."""
    dataset, _ = sentences(70)
    found = measure(Copying(None), dataset, Settings(iw_samples=0, mi_batch=32, max_tokens=16))
    assert found.mi == pytest.approx(math.log(70), abs=1e-6)
    assert found.mi_batch == pytest.approx(math.log(32), abs=1e-6)
    assert found.mi_entropy == pytest.approx(math.log(70), abs=4 * math.sqrt(3 / 2 / 70))
    assert found.mi_batch_entropy == pytest.approx(math.log(32), abs=4 * math.sqrt(3 / 2 / 64))
    assert found.donsker_varadhan == pytest.approx(math.log(7)) and found.tangent == pytest.approx(math.log(7))
    assert found.iw_nll is None and found.active_units == 3


class Uniform(torch.nn.Module):
    """A language model that gives every token, the end symbol included, one chance in 7."""

    latent_dim, encoder = 0, None

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def log_likelihood(self, tokens, z=None):
        return -tokens.ne(1).sum(1) * math.log(7)

    def max_positions(self):
        return 4


def test_perplexity_counts_the_end_symbol_and_no_beginning():
    """Sentences of 1, 2 and 3 words are 9 tokens: NLL 9 log 7 / 3, perplexity 7; whatever the batches."""
    dataset, tokens = sentences(3)
    assert tokens == 9
    for max_tokens in (4, 100):
        found = measure(Uniform(), dataset, Settings(max_tokens=max_tokens))
        assert (found.tokens, found.kl, found.iw_nll, found.mi, found.active_units) == (9, None, None, None, None)
        assert found.nll == pytest.approx(3 * math.log(7)) and found.ppl == pytest.approx(7)


def test_long_sentences_are_refused():
    dataset, _ = sentences(3)
    with pytest.raises(AMIError, match=r"1 sentences are longer than --max-tokens \(3\), .* in line 3 with 4"):
        measure(Uniform(), dataset, Settings(max_tokens=3))
    model = Uniform()
    model.max_positions = lambda: 2
    with pytest.raises(AMIError, match="2 sentences are longer than the model's --max-target-positions"):
        measure(model, dataset, Settings())
