"""Importance-weighted training, free bits per sentence and a target of information inside the criterion."""

import math

import pytest
import torch
from fairseq.logging import metrics
from torch.distributions import Normal, kl_divergence
from unit.tiny_vae import KINDS, make_batch, make_criterion, make_task, make_vae

from fairseq_ami.criterions.vae_mine_elbo import VAEMineELBO, VAEStep
from fairseq_ami.errors import AMIError
from fairseq_ami.random_streams import Stream, normal, stream_keys

SENTENCES = [[0, 2, 1, 3], [3], [1, 1, 0], [2, 0], [3, 2]]
K, BETA = 3, 0.6
FREE = 0.035  # nats: some dimensions have less, some more
STEP = VAEStep(7, BETA, samples=K)


def setting(kind="lstm", model=None, **settings):
    task = make_task()
    return make_vae(kind, task, **(model or {})), make_criterion(task, **settings), make_batch(task, SENTENCES)


def draws(samples=K, update=7):
    """Noise of each sentence's own stream, shape (5, samples, 3)."""
    keys = stream_keys(3, update, Stream.VAE_POSTERIOR, torch.arange(5), samples)
    return normal(keys, 1, 3).view(5, samples, 3).double()


def pieces(model, tokens, noise):
    """log p(x|z), log p(z) - log q(z|x), each (5, samples); KL by dimension; a pass of the decoder per sample."""
    heads, _ = model.posterior(tokens)
    q = Normal(heads.mean, heads.log_variance.exp().sqrt())
    prior = Normal(torch.zeros(3).double(), torch.ones(3).double())
    z = [q.loc + noise[:, k] * q.scale for k in range(noise.size(1))]
    likelihood = torch.stack([model.log_likelihood(tokens, one) for one in z], 1)
    ratio = torch.stack([(prior.log_prob(one) - q.log_prob(one)).sum(1) for one in z], 1)
    return likelihood, ratio, kl_divergence(q, prior), z


@pytest.mark.parametrize("gradient", ["iwae", "dreg"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss(kind, gradient):
    """-log mean exp of K weights for each sentence, beta on the prior's share; what is logged has beta 1."""
    model, criterion, batch = setting(kind, iw_train=K, iw_gradient=gradient)
    loss, size, log = criterion(model, batch, STEP)
    likelihood, ratio, kl, _ = pieces(model, batch["target"], draws())
    expected = -(likelihood + BETA * ratio).exp().mean(1).log().sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(log["iw_nll"], -(likelihood + ratio).exp().mean(1).log().sum().detach())
    torch.testing.assert_close(log["reconstruction"], -likelihood.mean(1).sum().detach())
    torch.testing.assert_close(log["kl"], kl.sum().detach())
    assert size == 5


def test_before_it_sets_in_the_loss_is_the_elbo():
    """To the bit, with the same sample: --iw-train alone changes nothing while the step has one sample."""
    model, criterion, batch = setting(iw_train=K)
    plain = make_criterion(make_task())
    one, other = (c(model, batch, VAEStep(7, BETA)) for c in (criterion, plain))
    assert torch.equal(one[0], other[0]) and one[2].keys() == other[2].keys()


@pytest.mark.parametrize("per", ["sentence", "batch"])
def test_free_bits_add_what_the_kl_lacks(per):
    """The same addend, and the same gradient for the encoder, as beside the ELBO."""
    model, criterion, batch = setting(iw_train=K, free_bits=FREE, free_bits_per=per)
    plain = make_criterion(make_task(), iw_train=K)
    weights = list(model.posterior_heads.parameters())
    loss, base = criterion(model, batch, STEP)[0], plain(model, batch, STEP)[0]
    kl = pieces(model, batch["target"], draws())[2]
    lifted = sum(max(FREE, v) for v in (kl.flatten() if per == "sentence" else kl.mean(0)).tolist())
    lacking = lifted * (1 if per == "sentence" else 5) - float(kl.sum())
    assert lacking > 0.01 and float((loss - base).detach()) == pytest.approx(BETA * lacking)
    gate = (kl > FREE).double() if per == "sentence" else (kl.mean(0) > FREE).double().expand(5, 3)
    assert 0 < gate.sum() < 15
    expected = torch.autograd.grad((BETA * (gate - 1) * kl).sum(), weights)
    for found, wanted in zip(torch.autograd.grad(loss - base, weights), expected):
        torch.testing.assert_close(found, wanted)


def test_free_bits_per_sentence_without_importance_weights():
    model, criterion, batch = setting(free_bits=FREE, free_bits_per="sentence")
    likelihood, _, kl, _ = pieces(model, batch["target"], draws(1))
    expected = -likelihood.sum() + BETA * sum(max(FREE, v) for v in kl.flatten().tolist())
    torch.testing.assert_close(criterion(model, batch, VAEStep(7, BETA))[0], expected)


def test_gradient_of_dreg():
    """The decoder's is the bound's own. The encoder's: ((1 - beta) + beta v) v dlog w/dz, q's density held constant."""
    model, criterion, batch = setting(iw_train=K, iw_gradient="dreg")
    plain = make_criterion(make_task(), iw_train=K, iw_gradient="iwae")
    tokens, noise = batch["target"], draws()
    decoder, encoder = list(model.decoder.parameters()), list(model.posterior_heads.parameters())
    loss, own = criterion(model, batch, STEP)[0], plain(model, batch, STEP)[0]
    for found, wanted in zip(*(torch.autograd.grad(v, decoder, retain_graph=True) for v in (loss, own))):
        torch.testing.assert_close(found, wanted)
    heads, _ = model.posterior(tokens)
    z = heads.mean.unsqueeze(1) + noise * heads.log_variance.exp().sqrt().unsqueeze(1)
    leaf = z.detach().requires_grad_()
    q = Normal(heads.mean.detach().unsqueeze(1), heads.log_variance.detach().exp().sqrt().unsqueeze(1))
    likelihood = torch.stack([model.log_likelihood(tokens, leaf[:, k]) for k in range(K)], 1)
    log_w = likelihood + BETA * (Normal(0.0, 1.0).log_prob(leaf) - q.log_prob(leaf)).sum(2)
    v = log_w.detach().exp() / log_w.detach().exp().sum(1, keepdim=True)
    (slope,) = torch.autograd.grad((v * log_w).sum(), leaf)
    factor = (1 - BETA) + BETA * v
    expected = torch.autograd.grad(-(factor.unsqueeze(2) * slope * z).sum(), encoder)
    for found, wanted in zip(torch.autograd.grad(loss, encoder, retain_graph=True), expected):
        torch.testing.assert_close(found, wanted)
    differ = zip(*(torch.autograd.grad(value, encoder) for value in (loss, own)))
    assert max(float((a - b).abs().max()) for a, b in differ) > 1e-3


def test_other_terms_read_the_first_sample():
    """alpha, bag of words and MMD are those of training by the ELBO, and their gradient is not scaled by DReG."""
    parts = {"critic": "bilinear", "bow_hidden": 4}
    terms = {"mi_weight": 1.7, "xi": "optimal", "bow_weight": 0.3, "mmd_weight": 2.0}
    model, criterion, batch = setting(model=parts, **terms)
    weights = list(model.posterior_heads.parameters())

    def added(step, **settings):
        with_terms, without = (make_criterion(make_task(), **settings, **more) for more in (terms, {}))
        difference = with_terms(model, batch, step)[0] - without(model, batch, step)[0]
        return difference.detach(), torch.autograd.grad(difference, weights)

    one, other = added(VAEStep(7, BETA)), added(STEP, iw_train=K)
    torch.testing.assert_close(one[0], other[0])
    for a, b in zip(one[1], other[1]):
        torch.testing.assert_close(a, b)


def test_two_halves_are_the_whole():
    """--update-freq 2 is a batch twice as large, with importance weights, free bits per sentence and hidden words."""
    task = make_task()
    model = make_vae("lstm", task, word_dropout=0.4, encoder_word_dropout=0.4, latent_skip=True)
    criterion = make_criterion(task, iw_train=K, free_bits=FREE, free_bits_per="sentence")

    def play(*batches):
        model.zero_grad()
        found = [criterion(model, batch, STEP) for batch in batches]
        sum(one[0] for one in found).backward()
        logged = {key: sum(float(one[2][key]) for one in found) for key in found[0][2]}
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]), logged

    whole = play(make_batch(task, SENTENCES))
    halves = play(make_batch(task, SENTENCES[:2], [0, 1]), make_batch(task, SENTENCES[2:], [2, 3, 4]))
    torch.testing.assert_close(whole[0], halves[0])
    assert whole[1] == pytest.approx(halves[1])


def test_hidden_from_the_encoder():
    """Other words than the decoder's, and in training only."""
    model, criterion, batch = setting(model={"encoder_word_dropout": 0.5})
    seen = []
    model.posterior = lambda tokens, hide=None: seen.append(hide) or type(model).posterior(model, tokens, hide)
    criterion(model, batch, VAEStep(7, BETA))
    keys = stream_keys(3, 7, Stream.VAE_ENCODER_WORDS, torch.arange(5), 1)
    assert torch.equal(seen[0], model.hidden_from_encoder(batch["target"], keys)) and seen[0].any()
    model.eval()
    criterion(model, batch)
    assert seen[1] is None


def test_validation():
    """-ELBO with the same sample as without --iw-train, and the bound of K samples in nats per sentence beside it."""
    model, criterion, batch = setting(iw_train=K)
    logs = []
    for one in (criterion, make_criterion(make_task())):
        with metrics.aggregate(new_root=True) as found, torch.no_grad():
            VAEMineELBO.reduce_metrics([one(model.eval(), batch)[2]])
        logs.append(found.get_smoothed_values())
    likelihood, ratio, _, _ = pieces(model, batch["target"], draws(update=-1))
    bound = float((likelihood + ratio).exp().mean(1).log().sum().detach())
    assert logs[0].pop("iw_nll") == pytest.approx(-bound / 5, abs=1e-4)
    assert logs[0] == logs[1] and "nll" in logs[1]


# ---------------------------------------------------------------------- a target of information


@pytest.mark.parametrize("features", ["encoder", "words"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 2.5])
def test_weight_of_the_multiplier(alpha, features):
    """The loss has alpha times the bound. The encoder's gradient as well; the energy function learns with weight 1."""
    parts = {"critic": "bilinear", "critic_features": features}
    model, criterion, batch = setting(model=parts, mi_target=2.0, mi_weight=1.0, xi="optimal")
    plain = make_criterion(make_task())
    loss, _, log = criterion(model, batch, VAEStep(7, BETA, mi_weight=alpha))
    base = plain(model, batch, VAEStep(7, BETA))[0]
    fixed = make_criterion(make_task(), mi_weight=1.0, xi="optimal")(model, batch, VAEStep(7, BETA))
    bound = fixed[2]["bound"]
    torch.testing.assert_close(log["bound"], bound)
    torch.testing.assert_close((base - loss).detach(), alpha * bound)
    for player, factor in (("encoder", alpha), ("critic", 1.0)):
        weights = model.players()[player]
        found, one = (
            torch.autograd.grad(base - value, weights, retain_graph=True, allow_unused=True)
            for value in (loss, fixed[0])
        )
        assert any(b is not None and b.abs().max() > 1e-4 for b in one)
        for a, b in zip(found, one):
            torch.testing.assert_close(a, None if b is None else factor * b)


def test_information_of_the_batch_is_measured_if_it_is_asked_for():
    """Mean of log q(z|x) - log (1/B) sum_b q(z|x_b); nothing for a batch of one, with the same keys."""
    settings = {"mi_target": 2.0, "mi_target_of": "information"}
    model, criterion, batch = setting(model={"critic": "bilinear"}, **settings)
    step = VAEStep(7, BETA, mi_weight=1.0)
    log = criterion(model, batch, step)[2]
    heads, _ = model.posterior(batch["target"])
    q = Normal(heads.mean.unsqueeze(0), heads.log_variance.exp().sqrt().unsqueeze(0))
    z = heads.mean + draws(1)[:, 0] * heads.log_variance.exp().sqrt()
    table = q.log_prob(z.unsqueeze(1)).sum(2)
    expected = (table.diagonal() - table.exp().mean(1).log()).sum()
    assert log["information"] == pytest.approx(float(expected.detach()), abs=1e-6)
    assert log["information_sentences"] == 5
    alone = criterion(model, make_batch(make_task(), SENTENCES[:1]), step)[2]
    assert alone.keys() == log.keys() and alone["information_sentences"] == 0
    other = make_criterion(make_task(), mi_target=2.0)
    assert "information" not in other(model, batch, step)[2]


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"iw_train": 0}, "--iw-train must be at least 1"),
        ({"iw_after_updates": -1}, "--iw-after-updates must not be negative"),
        ({"iw_after_updates": 3, "iw_after_epochs": 1.0}, "say the same thing"),
        ({"mi_target": 0.0}, "--mi-target must be positive"),
        ({"mi_target": 1.0, "mi_target_rate": 0.0}, "--mi-target-rate must be positive"),
        ({"mi_target": 1.0, "mi_weight": 3.0, "mi_weight_max": 2.0}, "at least --mi-weight"),
        ({"mi_target": 1.0, "mi_estimator": "js"}, "pass --mi-target-of information"),
        ({"mi_target": math.nan}, "--mi-target must be positive"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(AMIError, match=message):
        make_criterion(make_task(), **settings)


@pytest.mark.parametrize(
    "model, settings, message",
    [
        ({}, {"mi_target": 1.0}, "--mi-target needs an energy function: pass --critic"),
        ({"latent_dim": 0}, {"iw_train": 2}, "a language model has none"),
    ],
)
def test_settings_without_their_part_of_the_model(model, settings, message):
    with pytest.raises(AMIError, match=message):
        make_criterion(make_task(), **settings).check_model(make_vae(**model))
