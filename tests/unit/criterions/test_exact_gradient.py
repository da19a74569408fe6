"""The sampled gradients of the minimax against the exact ones of exact.py: every player, baseline, multiplier."""

import math

import pytest
import torch
import torch.nn.functional as F
from unit.exact import forward_loss, noise_loss
from unit.sampled_gradients import EOS, assert_unbiased, exact_gradient, sampled_gradients
from unit.tiny import make_pair

from fairseq_ami.criterions import ami_minimax

RECOMPUTED = {"checkpoint_activations": True, "dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3}


# ------------------------------------------------------------------ the enumeration itself


def test_enumerated_probabilities_sum_to_one(game):
    """The 13 sentences are all that the truncated policy can draw."""
    for one in game[3]():
        assert one.expectation(lambda tokens: 1.0).item() == pytest.approx(1.0, abs=1e-5)


def test_exact_gradient_is_that_of_finite_differences(game):
    """The oracle's own gradient: a step along it changes E[r] by its squared norm (K is held constant: left out)."""
    model, one = game[1], game[3]()[0]
    weights = list(model.forward_model.parameters())
    value = lambda: one.expectation(lambda tokens: one.reward(tokens, False))  # noqa: E731
    grads = torch.autograd.grad(value(), weights, allow_unused=True)
    slope = sum(float(g.pow(2).sum()) for g in grads if g is not None)
    step = 0.02 / math.sqrt(slope)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for w, g in zip(weights, grads):
                w.add_(0 if g is None else sign * step * g)
            values.append(value().item())
            for w, g in zip(weights, grads):
                w.sub_(0 if g is None else sign * step * g)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.02)


# ------------------------------------------------------------------ theta

BASELINES = {
    "none": ({"baseline": "running-mean", "reward_mean": 0.0}, 1.0),
    "running mean": ({"baseline": "running-mean", "reward_mean": -1.5}, 1.0),
    "leave one out": ({"baseline": "leave-one-out"}, 1.0),
    "running std": (
        {"baseline": "running-mean", "reward_scale": "running-std", "reward_mean": -1.5, "reward_std": 0.5},
        2.0,
    ),
}


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("multiplier", ["none", "both"])
def test_theta(game, baseline, multiplier):
    """The forward phase descends -E[r] or -E[K r], divided by the spread, whatever the baseline."""
    settings, factor = BASELINES[baseline]
    exact = exact_gradient(game[1], "forward", forward_loss(game[3](), multiplier == "both")) * factor
    sampled = sampled_gradients(game, "forward", mle_weight=0.0, cosine_multiplier=multiplier, **settings)
    assert_unbiased(sampled, exact)


def test_theta_of_equation_12(game):
    """The paper's settings: the reward is K log Q of all of S. Sources of 3 and 2 tokens: no common factor does it."""
    settings = {"reward_per": "sentence", "baseline": "running-mean", "reward_scale": "none", "mle_weight": 0.0}
    sampled = sampled_gradients(game, "forward", reward_mean=-3.5, cosine_multiplier="both", **settings)
    assert_unbiased(sampled, exact_gradient(game[1], "forward", forward_loss(game[3](), True, "sentence")))
    for one, factor in zip(game[3](), (3, 2)):
        assert one.reward([4, EOS], True, "sentence") == pytest.approx(factor * one.reward([4, EOS], True).item())


def test_theta_without_multiplier_in_the_forward_phase(game):
    """--cosine-multiplier backward leaves the forward phase at -E[r], not at -E[K r]."""
    sampled = sampled_gradients(game, "forward", mle_weight=0.0, cosine_multiplier="backward")
    assert_unbiased(sampled, exact_gradient(game[1], "forward", forward_loss(game[3](), False)))
    with pytest.raises(AssertionError):
        assert_unbiased(sampled, exact_gradient(game[1], "forward", forward_loss(game[3](), True)))


def test_theta_under_another_policy(game):
    """With a temperature and top-k the objective is that of the policy which draws."""
    exact = forward_loss(game[3](temperature=1.5, topk=3), False)
    settings = {"sample_temperature": 1.5, "sample_topk": 3, "cosine_multiplier": "none", "mle_weight": 0.0}
    assert_unbiased(sampled_gradients(game, "forward", **settings), exact_gradient(game[1], "forward", exact))


def test_theta_with_the_likelihood_anchor(game):
    """Weights of both terms: 0.3 NLL(T|S) without noise, 2 times the policy term."""
    model, exact = game[1], game[3]()
    nll = 0.0
    for one in exact:
        previous = torch.cat([torch.tensor([[EOS]]), one.target[:, :-1]], dim=1)
        logits = model.forward_model(one.source, torch.tensor([one.source.size(1)]), previous)[0][0]
        nll = nll + F.cross_entropy(logits, one.target[0], reduction="sum")
    gradient = exact_gradient(model, "forward", 0.3 * nll + 2.0 * forward_loss(exact, True))
    settings = {"mle_weight": 0.3, "policy_weight": 2.0, "cosine_multiplier": "both"}
    assert_unbiased(sampled_gradients(game, "forward", **settings), gradient)


def test_baselines_lower_the_variance(game):
    """Same expectation, smaller spread than without a baseline."""
    spread = {}
    for name in ("none", "running mean", "leave one out"):
        sampled = sampled_gradients(game, "forward", mle_weight=0.0, cosine_multiplier="none", **BASELINES[name][0])
        spread[name] = float(sampled.var(0).sum())
    assert spread["running mean"] < 0.5 * spread["none"]
    assert spread["leave one out"] < 0.5 * spread["none"]


def test_a_baseline_that_includes_the_sample_would_be_seen(game, monkeypatch):
    """The mean of the whole group shrinks the gradient by (k - 1) / k: this test bench must notice."""
    monkeypatch.setattr(ami_minimax, "advantages", lambda r, b: r - r.mean(1, keepdim=True))
    exact = exact_gradient(game[1], "forward", forward_loss(game[3](), False))
    sampled = sampled_gradients(game, "forward", mle_weight=0.0, cosine_multiplier="none")
    with pytest.raises(AssertionError):
        assert_unbiased(sampled, exact)
    assert_unbiased(2 * sampled, exact)


# ------------------------------------------------------------------ phi

FAKE = {
    "log-likelihood": lambda log_q: log_q.sum(),
    "unlikelihood": lambda log_q: -(1 - log_q.exp()).log().sum(),
    "hinge": lambda log_q: (log_q + 1.5).clamp(min=0).sum(),
}


@pytest.mark.parametrize(
    "kind, multiplier",
    [("log-likelihood", "none"), ("log-likelihood", "backward"), ("unlikelihood", "both"), ("hinge", "both")],
)
def test_phi(game, kind, multiplier):
    """The backward phase descends NLL(S|T) + w E[K fake(Q(S|T'))]; K in both places where it is used."""
    loss = 0.0
    for one in game[3]():
        weight = one.k if multiplier != "none" else lambda tokens: 1.0
        encoder_out = one.encode()[0]
        fake = one.expectation(lambda t: weight(t) * FAKE[kind](one.log_q(t)), encoder_out)  # noqa: B023
        loss = loss - one.log_q(one.target[0].tolist()).sum() + 0.7 * fake
    settings = {"fake_loss": kind, "fake_margin": 1.5, "adversarial_weight": 0.7, "cosine_multiplier": multiplier}
    assert_unbiased(sampled_gradients(game, "backward", **settings), exact_gradient(game[1], "backward", loss))


def test_phi_of_mmi(game, monkeypatch):
    """In MMI the backward network maximises E[log Q(S|T')]: no noise, no K, no real pairs."""
    exact = game[3](scale=0.0)
    loss = -sum(one.expectation(lambda t, one=one: one.log_q(t).sum()) for one in exact)
    sampled = sampled_gradients(game, "backward", objective="mmi")
    assert_unbiased(sampled, exact_gradient(game[1], "backward", loss))


# ------------------------------------------------------------------ omega


@pytest.mark.parametrize(
    "baseline, multiplier",
    [("none", "both"), ("running mean", "none"), ("leave one out", "both"), ("running std", "none")],
)
def test_omega(game, baseline, multiplier):
    """The noise phase descends -lambda ||delta|| - E[r]; K takes no part in it."""
    settings, factor = BASELINES[baseline]
    exact = exact_gradient(game[1], "noise", noise_loss(game[3](), 0.7 / factor)) * factor
    settings = {"noise_lambda": 0.7, "noise_norm_cap": 0.0, "cosine_multiplier": multiplier, **settings}
    assert_unbiased(sampled_gradients(game, "noise", **settings), exact)


def test_omega_of_equation_15(game):
    """Beside log Q of all of S, lambda weighs the noise as in the paper."""
    settings = {"reward_per": "sentence", "baseline": "running-mean", "reward_scale": "none"}
    sampled = sampled_gradients(game, "noise", -3.5, noise_lambda=0.7, noise_norm_cap=0.0, **settings)
    assert_unbiased(sampled, exact_gradient(game[1], "noise", noise_loss(game[3](), 0.7, "sentence")))


def test_omega_above_the_cap(game):
    """Noise beyond the cap earns nothing: -E[r] alone is left."""
    exact = exact_gradient(game[1], "noise", noise_loss(game[3](), 0.0))
    assert_unbiased(sampled_gradients(game, "noise", noise_lambda=0.7, noise_norm_cap=0.01), exact)


# ------------------------------------------------------------------ layers that are computed twice


@pytest.mark.parametrize("game", [("ami_transformer", RECOMPUTED)], indirect=True)
@pytest.mark.parametrize("player", ["forward", "noise"])
def test_activation_checkpointing(game, player):
    """Layers that are computed again in the backward pass do without dropout as well: the enumeration is over a plain
    pair with the same weights."""
    plain, exact = make_pair(game[0], noise_scale=0.8), game[3]()
    assert all(map(torch.equal, plain.parameters(), game[1].parameters()))
    for one in exact:
        one.model = plain
    loss = forward_loss(exact, True) if player == "forward" else noise_loss(exact, 0.7)
    settings = {"mle_weight": 0.0, "noise_lambda": 0.7, "noise_norm_cap": 0.0, "cosine_multiplier": "both"}
    assert_unbiased(sampled_gradients(game, player, **settings), exact_gradient(plain, player, loss))


# ------------------------------------------------------------------ the other architectures


@pytest.mark.parametrize("game", [("ami_lstm", {}), ("ami_hred", {})], indirect=True)
@pytest.mark.parametrize("player", ["forward", "backward", "noise"])
def test_other_networks(game, player):
    """Over BiLSTMs the noise falls on the decoder's first states, over HREDs on what their decoder reads."""
    exact = game[3]()
    if player == "forward":
        loss = forward_loss(exact, True)
    elif player == "noise":
        loss = noise_loss(exact, 0.0)
    else:
        loss = -sum(one.log_q(one.target[0].tolist()).sum() for one in exact)
        for one in exact:
            loss = loss + 0.7 * one.expectation(lambda t: one.k(t) * one.log_q(t).sum(), one.encode()[0])  # noqa: B023
    settings = {"mle_weight": 0.0, "adversarial_weight": 0.7, "noise_norm_cap": 0.01, "cosine_multiplier": "both"}
    assert_unbiased(sampled_gradients(game, player, **settings), exact_gradient(game[1], player, loss))
