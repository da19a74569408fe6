"""Each row's loss against its formula written out, gradients against finite differences, and the random streams."""

import logging
import math

import pytest
import torch
from unit.tiny_vae import KINDS, make_batch, make_criterion, make_task, make_vae
from unit.vae_pieces import SENTENCES, negative_scores, pieces, setting

from fairseq_ami.criterions.vae_mine_elbo import VAEMineELBO, VAEStep

STEP = VAEStep(7, 0.6)


# ---------------------------------------------------------------------- the rows of the table


@pytest.mark.parametrize("kind", KINDS)
def test_elbo_with_a_weight(kind, noise):
    model, criterion, batch = setting(kind=kind)
    loss, size, log = criterion(model, batch, STEP)
    reconstruction, kl, _, _ = pieces(model, batch, noise[0])
    torch.testing.assert_close(loss, reconstruction + 0.6 * kl.sum())
    assert size == log["sample_size"] == log["nsentences"] == 5
    assert log["ntokens"] == sum(len(s) + 1 for s in SENTENCES) == 17  # with end symbols, without the first ones
    torch.testing.assert_close(log["kl"], kl.sum().detach())  # unweighted
    torch.testing.assert_close(log["reconstruction"], reconstruction.detach())
    assert not set(log) & {"bound", "bow", "mmd", "information"}


def test_free_bits(noise):
    """The dimension whose mean KL is in the middle sets the threshold: one below it pays the threshold."""
    model, _, batch = setting()
    reconstruction, kl, _, _ = (part.detach() for part in pieces(model, batch, noise[0]))
    low, middle, high = sorted(kl.mean(0).tolist())
    loss, _, log = make_criterion(make_task(), free_bits=middle)(model, batch, STEP)
    assert low < middle - 1e-3 and float(loss.detach()) == pytest.approx(
        float(reconstruction) + 0.6 * 5 * (middle + middle + high)
    )
    torch.testing.assert_close(log["kl"], kl.sum())


def test_bag_of_words(noise):
    model, criterion, batch = setting(bow_weight=0.3)
    loss, _, log = criterion(model, batch, STEP)
    reconstruction, kl, z, _ = pieces(model, batch, noise[0])
    table = torch.log_softmax(model.bow(z), 1)
    bow = -sum(table[i, 4 + word] for i, sentence in enumerate(SENTENCES) for word in sentence)
    torch.testing.assert_close(loss, reconstruction + 0.6 * kl.sum() + 0.3 * bow)
    torch.testing.assert_close(log["bow"], bow.detach())


def test_mmd(noise):
    """Weighted per sentence, between the z used and one draw of the prior for each."""
    model, criterion, batch = setting(mmd_weight=2.0)
    loss, _, log = criterion(model, batch, STEP)
    reconstruction, kl, z, _ = pieces(model, batch, noise[0])

    def mean_kernel(a, b):
        return sum(torch.exp(-((x - y) ** 2).sum() / 9) for x in a for y in b) / 25

    mmd = mean_kernel(z, z) + mean_kernel(noise[1], noise[1]) - 2 * mean_kernel(z, noise[1])
    torch.testing.assert_close(loss, reconstruction + 0.6 * kl.sum() + 2.0 * 5 * mmd)
    torch.testing.assert_close(log["mmd"], 5 * mmd.detach())


@pytest.mark.parametrize("negatives", ["all", "roll"])
@pytest.mark.parametrize("critic", ["concat", "separable", "bilinear"])
@pytest.mark.parametrize(
    "xi, average, slope",
    [
        ("optimal", 0.4, lambda mean: 1 / mean),
        ("ema", None, lambda mean: 1 / mean),
        ("ema", 0.4, lambda mean: 1 / 0.4),
        ("ema", 0.0, lambda mean: 1 / mean),
        ("fixed", 0.4, lambda mean: 0.7),
        ("paper", 0.4, lambda mean: mean),
    ],
)
def test_mutual_information(xi, average, slope, critic, negatives, noise):
    """alpha (E_joint f - xi E_marginal e^f + log xi + 1) a sentence, xi without gradient."""
    settings = {"mi_weight": 1.7, "xi": xi, "xi_value": 0.7, "negatives": negatives}
    model, criterion, batch = setting(model={"critic": critic}, **settings)
    loss, _, log = criterion(model, batch, VAEStep(7, 0.6, average))
    reconstruction, kl, z, features = pieces(model, batch, noise[0])
    joint, marginal = negative_scores(model, features, z, negatives)
    mean = marginal.exp().mean()
    value = float(slope(float(mean.detach())))
    bound = joint.mean() - value * mean + math.log(value) + 1
    torch.testing.assert_close(loss, reconstruction + 0.6 * kl.sum() - 1.7 * 5 * bound)
    torch.testing.assert_close(log["bound"], 5 * bound.detach())
    assert log["bound_sentences"] == 5
    if xi == "ema":  # what the running mean is fed with is E[e^f] itself
        assert float(log["mean_exp"]) == pytest.approx(5 * float(mean.detach()), rel=1e-6)
    weights = list(model.critic.parameters())
    expected = torch.autograd.grad(-1.7 * 5 * (joint.mean() - value * mean), weights)
    for found, wanted in zip(torch.autograd.grad(loss, weights), expected):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    "name, value",
    [
        ("dv", lambda f, joint, marginal: joint.mean() - marginal.exp().mean().log()),
        ("nwj", lambda f, joint, marginal: joint.mean() - (marginal - 1).exp().mean()),
        ("infonce", lambda f, joint, marginal: (joint - f.exp().mean(1).log()).mean()),
        ("js", lambda f, joint, marginal: joint.sigmoid().log().mean() + (1 - marginal.sigmoid()).log().mean()),
    ],
)
def test_other_estimators(name, value, noise):
    """--mi-estimator puts another objective in the bound's place; --xi has no say then."""
    model, criterion, batch = setting(model={"critic": "bilinear"}, mi_weight=1.7, mi_estimator=name, xi="ema")
    loss, _, log = criterion(model, batch, VAEStep(7, 0.6, 0.4))
    reconstruction, kl, z, features = pieces(model, batch, noise[0])
    joint, marginal = negative_scores(model, features, z, "all")
    expected = value(model.critic(features, z), joint, marginal)
    torch.testing.assert_close(loss, reconstruction + 0.6 * kl.sum() - 1.7 * 5 * expected)
    torch.testing.assert_close(log["bound"], 5 * expected.detach())
    assert "mean_exp" not in log


def test_equation_13_is_no_maximum(noise):
    """-xi E[e^f] + log xi is highest at 1 / E[e^f]: no xi on a fine grid does better, and xi = E[e^f] does worse."""
    bounds = {}
    for name in ("optimal", "paper"):
        model, criterion, batch = setting(mi_weight=1.0, xi=name)
        bounds[name] = float(criterion(model, batch, STEP)[2]["bound"])
    for value in [10 ** (k / 10) for k in range(-40, 41)]:
        model, criterion, batch = setting(mi_weight=1.0, xi="fixed", xi_value=value)
        assert float(criterion(model, batch, STEP)[2]["bound"]) <= bounds["optimal"] + 1e-9
    assert bounds["paper"] < bounds["optimal"] - 0.01


@pytest.mark.parametrize(
    "name, settings",
    {
        "lstm": {},
        "free bits": {"free_bits": 0.035},
        "bow": {"bow_weight": 0.3},
        "mmd": {"mmd_weight": 2.0},
        "mine, ema": {"mi_weight": 1.7},
        "mine, optimal": {"mi_weight": 1.7, "xi": "optimal"},  # xi is at its maximum: its own gradient is zero
        "mine, paper": {"mi_weight": 1.7, "xi": "paper"},
    }.items(),
)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind, name, settings, noise, monkeypatch):
    """Central differences in float64 along a random direction of each player's weights."""
    model, criterion, batch = setting(kind=kind, **settings)
    step = VAEStep(7, 0.6, 1.3)
    if settings.get("xi") == "paper":  # its xi is a constant of the update
        monkeypatch.setattr(VAEMineELBO, "_log_xi", lambda *_: torch.tensor(0.2).double())

    def value():
        return criterion(model, batch, step)[0]

    criterion(model, batch, step)[0].backward()
    checked = 0
    for weights in model.players().values():
        with_gradient = [w for w in weights if w.grad is not None]
        if not with_gradient:
            continue
        directions = [torch.randn(w.shape).double() for w in with_gradient]
        expected = sum(float((w.grad * d).sum()) for w, d in zip(with_gradient, directions))
        ends = []
        with torch.no_grad():
            for sign in (1, -2):
                for weight, direction in zip(with_gradient, directions):
                    weight.add_(direction, alpha=sign * 1e-6)
                ends.append(float(value()))
            for weight, direction in zip(with_gradient, directions):
                weight.add_(direction, alpha=1e-6)
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(expected, rel=1e-5, abs=1e-5)
        checked += abs(expected) > 1e-3
    assert checked == (3 if "mine" in name or name == "bow" else 2)


def test_language_model():
    """The exact NLL; no latent keys."""
    task = make_task()
    model, batch = make_vae("lstm", task, latent_dim=0), make_batch(task, SENTENCES)
    for step in (STEP, None):
        loss, _, log = make_criterion(task)(model, batch, step)
        torch.testing.assert_close(loss, -model.log_likelihood(batch["target"]).sum())
        assert float(log["kl"]) == 0.0 and not set(log) & {"information", "mean_sum", "bound"}


def test_word_dropout_in_training_only(noise):
    model, criterion, batch = setting(model={"word_dropout": 0.5})
    dropped = criterion(model, batch, STEP)[2]["reconstruction"]
    noise_free = pieces(model, batch, noise[0])[0].detach()
    assert abs(float(dropped - noise_free)) > 1e-3
    model.eval()
    torch.testing.assert_close(criterion(model, batch)[2]["reconstruction"], noise_free)


# ---------------------------------------------------------------------- batches


def test_one_sentence_has_no_negatives(caplog):
    """It trains without the term, says so once, and logs the keys that the other workers log."""
    model, criterion, batch = setting(mi_weight=1.7)
    alone = make_batch(make_task(), SENTENCES[:1])
    with caplog.at_level(logging.WARNING):
        losses = [criterion(model, alone, STEP) for _ in range(2)]
    assert caplog.text.count("has no independent pair") == 1
    plain = setting()[1](model, alone, STEP)[0]
    torch.testing.assert_close(losses[0][0], plain)
    assert losses[0][2].keys() == criterion(model, batch, STEP)[2].keys()
    assert losses[0][2]["bound_sentences"] == 0 == float(losses[0][2]["mean_exp"])
    model.eval()
    assert criterion(model, alone)[2].keys() == criterion(model, batch)[2].keys()


@pytest.mark.parametrize("settings", [{}, {"bow_weight": 0.3}])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_two_halves_are_the_whole(settings, dropout):
    """Loss, gradient and sums of an additive row: --update-freq 2 is a batch twice as large."""
    task = make_task()
    model, criterion, whole = setting(task, model={"word_dropout": dropout}, **settings)
    halves = [make_batch(task, SENTENCES[:2], [0, 1]), make_batch(task, SENTENCES[2:], [2, 3, 4])]

    def play(batches):
        model.zero_grad()
        found = [criterion(model, batch, STEP) for batch in batches]
        loss = sum(one[0] for one in found)
        loss.backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return (
            loss.detach(),
            grads,
            sum(one[1] for one in found),
            {key: sum(float(one[2][key]) for one in found) for key in found[0][2]},
        )

    one, two = play([whole]), play(halves)
    torch.testing.assert_close(one[0], two[0])
    torch.testing.assert_close(one[1], two[1])
    assert one[2] == two[2] and one[3] == pytest.approx(two[3])


def test_noise_belongs_to_the_sentence_and_the_update():
    """Whatever the place in the batch; another at every update, another seed, another purpose; fixed in validation."""
    task = make_task()
    model = make_vae("lstm", task)

    def loss(ids, step=STEP, seed=3):
        sentences = [SENTENCES[i] for i in ids]
        one = [make_batch(task, [s], [i]) for s, i in zip(sentences, ids)]
        criterion = make_criterion(task, seed=seed)
        together = float(criterion(model, make_batch(task, sentences, ids), step)[0].detach())
        assert together == pytest.approx(sum(float(criterion(model, b, step)[0].detach()) for b in one))
        return together

    base = loss([0, 1, 2])
    assert loss([2, 0, 1]) == pytest.approx(base)
    others = [loss([0, 1, 2], VAEStep(8, 0.6)), loss([0, 1, 2], seed=4)]
    assert all(abs(other - base) > 1e-4 for other in others)
    assert loss([0, 1, 2], None) == loss([0, 1, 2], None)
    seen = []
    criterion = make_criterion(task, mmd_weight=1.0)
    criterion._noise = lambda keys, channels: seen.append(keys.tolist()) or torch.zeros(len(keys), channels)
    criterion(model, make_batch(task, SENTENCES), STEP)
    assert len(seen) == 2 and len({key for keys in seen for key in keys}) == 10


def test_noise_is_standard_normal():
    task = make_task()
    model, seen = make_vae("lstm", task), []
    criterion, draw = make_criterion(task), VAEMineELBO._noise
    criterion._noise = lambda keys, channels: seen.append(draw(keys, channels)) or seen[-1]
    criterion(model, make_batch(task, [[0]] * 4000), STEP)
    values = seen[0]
    assert values.mean(0).tolist() == pytest.approx([0] * 3, abs=4 / math.sqrt(4000))
    torch.testing.assert_close(torch.cov(values.T), torch.eye(3), atol=0.1, rtol=0)
