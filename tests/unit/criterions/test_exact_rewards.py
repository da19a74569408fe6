"""Rewards, minimum risk, the anchor and length-neutral rewards against exact sums over every sentence (exact.py)."""

import sys
import types

import pytest
import sacrebleu
import torch
import torch.nn.functional as F
from unit.exact import EVERY_SAMPLE
from unit.sampled_gradients import EOS, assert_unbiased, exact_gradient, sampled_gradients
from unit.tiny import make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.errors import AMIError

PLAIN = {"objective": "reward", "mle_weight": 0.0}
NAMES = {3: "<unk>", 4: "w0", 5: "w1"}


def text(tokens):
    return " ".join(NAMES[token] for token in tokens if token != EOS)


def chrf(one, tokens):
    return sacrebleu.sentence_chrf(text(tokens), [text(one.target[0].tolist())]).score / 100


def bleu(one, tokens):
    metric = sacrebleu.BLEU(effective_order=True)
    return metric.sentence_score(text(tokens), [text(one.target[0].tolist())]).score / 100


def expected(exact, reward):
    """-E[r] over the sources, without noise."""
    return -sum(one.expectation(lambda tokens, one=one: reward(one, tokens)) for one in exact)


@pytest.fixture
def likes_w1(monkeypatch):
    """A module of a user's own: 0.3 per w1 of the output, and what it has seen."""
    module = types.ModuleType("mine_of_this_test")
    module.seen = []

    def count(sampled):
        module.seen.append(sampled)
        return [0.3 * output.split().count("w1") for output in sampled.outputs]

    module.count = count
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


# ------------------------------------------------------------------ rewards by name


@pytest.mark.parametrize("name, score", [("chrf", chrf), ("bleu", bleu)])
def test_similarities(game, name, score):
    """REINFORCE with a similarity descends its negative expectation."""
    exact = expected(game[3](scale=0.0), score)
    assert_unbiased(sampled_gradients(game, "forward", reward=name, **PLAIN), exact_gradient(game[1], "forward", exact))


def test_a_weighted_sum(game, likes_w1):
    """K multiplies log Q and no other reward; a function of one's own gets texts and references."""

    def total(one, tokens):
        own = 0.3 * text(tokens).split().count("w1")
        return one.k(tokens) * one.log_q(tokens).mean().item() - 0.5 * chrf(one, tokens) + 2 * own

    exact = exact_gradient(game[1], "forward", expected(game[3](), total))
    settings = {"reward": "log-q=1,chrf=-0.5,mine_of_this_test:count=2", "mle_weight": 0.0}
    assert_unbiased(sampled_gradients(game, "forward", **settings), exact)
    seen = likes_w1.seen[0]
    assert seen.sources[0] == "w0 w2" and seen.references[0] == "w0 w1" and seen.samples_per_source == 2
    assert set(seen.outputs) <= {text(tokens) for tokens in EVERY_SAMPLE}


def test_a_constant_reward_teaches_nothing_on_average(game):
    """Exactly nothing under leave-one-out; without a baseline its expectation is 0, and its noise is not."""
    alike = sampled_gradients(game, "forward", reward="constant", **PLAIN)
    assert torch.equal(alike, torch.zeros_like(alike))
    noisy = sampled_gradients(game, "forward", 0.0, reward="constant=3", baseline="running-mean", **PLAIN)
    assert noisy.abs().max() > 0.01
    deviation = noisy.mean(0) / (noisy.std(0) / len(noisy) ** 0.5 + 1e-7)
    assert deviation.pow(2).mean().sqrt() < 2


def test_rewards_are_logged_by_name(game, likes_w1):
    """Mean, and variance between and within sources, of each reward before its weight."""
    task, model, batch, _ = game
    criterion = make_criterion(task, reward="chrf=2,mine_of_this_test:count=7", num_samples=3, **PLAIN)
    log = criterion(model, batch, Step("forward", 0))[2]
    found = torch.tensor([0.3 * text.split().count("w1") for text in likes_w1.seen[0].outputs], dtype=torch.float64)
    rows = found.view(-1, 3)
    assert log["reward_count_count"] == found.numel()
    assert float(log["reward_count_sum"]) == pytest.approx(float(found.sum()), rel=1e-6)
    assert float(log["reward_count_square"]) == pytest.approx(float(found.pow(2).sum()), rel=1e-6)
    assert float(log["reward_count_within"]) == pytest.approx(float(rows.var(1, correction=0).sum() * 3), rel=1e-6)
    total = 2 * float(log["reward_chrf_sum"]) + 7 * float(found.sum())
    assert float(log["reward_sum"]) == pytest.approx(total, rel=1e-5)


# ------------------------------------------------------------------ minimum risk


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_minimum_risk(game, alpha):
    """Two samples: the sum over all pairs of samples of P(a) P(b) times the gradient of their renormalised risk."""
    loss = 0.0
    for one in game[3](scale=0.0):
        encoder_out = one.encode()[0]
        log_p = torch.stack([one.log_p(tokens, encoder_out) for tokens in EVERY_SAMPLE])
        rewards = torch.tensor([chrf(one, tokens) for tokens in EVERY_SAMPLE])
        drawn = log_p.detach().exp()
        for a in range(len(EVERY_SAMPLE)):
            for b in range(len(EVERY_SAMPLE)):
                rows = [a] if a == b else [a, b]  # a sentence that is drawn twice is one of the candidates
                weights = torch.softmax(alpha * log_p[rows], 0)
                loss = loss - drawn[a] * drawn[b] * (weights * rewards[rows]).sum()
    exact = exact_gradient(game[1], "forward", loss)
    settings = {"reward": "chrf", "policy_loss": "minimum-risk", "risk_alpha": alpha, **PLAIN}
    assert_unbiased(sampled_gradients(game, "forward", **settings), exact)


# ------------------------------------------------------------------ length-neutral rewards, anchor


def test_without_what_is_linear_in_length(game):
    """The policy descends -E[r - slope |T'|], the end symbol counted."""
    exact = expected(game[3](scale=0.0), lambda one, tokens: chrf(one, tokens) - 0.2 * len(tokens))
    settings = {"reward": "chrf", "reward_length": "neutral", **PLAIN}
    sampled = sampled_gradients(game, "forward", step={"length_slope": 0.2}, **settings)
    assert_unbiased(sampled, exact_gradient(game[1], "forward", exact))


def test_a_reward_that_is_linear_in_length_teaches_nothing(game, monkeypatch):
    """Its slope is found in one update, and then nothing is left: exactly, up to float32's last digit."""
    module = types.ModuleType("length_of_this_test")
    module.length = lambda sampled: [3.0 + 0.5 * len(ids) for ids in sampled.output_ids]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    task, model, batch, _ = game
    settings = {"reward": "length_of_this_test:length", "reward_length": "neutral", "num_samples": 4, **PLAIN}
    criterion = make_criterion(task, **settings)
    log = criterion(model, batch, Step("forward", 0))[2]
    slope = float(log["length_product"]) / float(log["length_square"])
    assert slope == pytest.approx(0.5, abs=1e-9)
    assert "advantage_square" not in log  # nothing is learnt, and nothing noted, before there is a slope
    loss, _, log = criterion(model, batch, Step("forward", 1, length_slope=0.5))
    assert float(loss) == 0 and float(log["advantage_square"]) == 0


def test_anchor(game):
    """The policy descends -E[r + beta (log P0 - log P) / |T'|], the bracket held constant."""
    _, model, _, exact = game
    start = make_pair(game[0], noise_scale=0.8, seed=5)
    others = exact(scale=0.0)
    for one in others:
        one.model = start
    anchors = [(one, one.encode()[0]) for one in others]

    def reward(one, tokens):
        other, there = next(pair for pair in anchors if torch.equal(pair[0].source, one.source))
        with torch.no_grad():
            log_ratio = other.log_p(tokens, there) - one.log_p(tokens, one.encode()[0])
        return chrf(one, tokens) + 0.7 * float(log_ratio) / len(tokens)

    gradient = exact_gradient(model, "forward", expected(exact(scale=0.0), reward))
    weights = [weight.detach().clone() for weight in start.trained_by("forward")]
    settings = {"reward": "chrf", "anchor_weight": 0.7, **PLAIN}
    assert_unbiased(sampled_gradients(game, "forward", step={"anchor": weights}, **settings), gradient)
    with pytest.raises(AssertionError):
        assert_unbiased(sampled_gradients(game, "forward", reward="chrf", **PLAIN), gradient)


def test_anchor_at_the_start(game):
    """At its own start the policy has no distance to go back, and its weights are untouched by the look at them."""
    task, model, batch, _ = game
    before = [weight.detach().clone() for weight in model.parameters()]
    criterion = make_criterion(task, reward="chrf", anchor_weight=3.0, **PLAIN)
    log = criterion(model, batch, Step("forward", 0, anchor=[w.detach().clone() for w in model.trained_by("forward")]))[
        2
    ]
    assert float(log["anchor_divergence"]) == pytest.approx(0.0, abs=1e-3)
    assert all(map(torch.equal, before, model.parameters()))


# ------------------------------------------------------------------ without a backward network


def test_no_backward_network(game):
    """The same gradient as with one that takes no part; validation tells the likelihood alone."""
    task, model, batch, _ = game
    alone = make_pair(task, noise_scale=0.8, no_backward_network=True)
    assert alone.backward_model is None and set(alone.player_networks()) == {"forward", "noise"}
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("backward")})
    losses = []
    for pair in (alone, model):
        criterion = make_criterion(task, reward="chrf", **PLAIN)
        criterion.check_model(pair)
        loss = criterion(pair, batch, Step("forward", 3))[0]
        losses.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(pair.forward_model.parameters()))])
        )
    assert torch.equal(*losses) and losses[0].norm() > 0
    log = criterion(alone.eval(), batch)[2]
    words = batch["target"].ne(1)
    logits = alone.forward_model(**batch["net_input"])[0]
    nll = F.cross_entropy(logits[words], batch["target"][words], reduction="sum")
    assert float(log["valid_nll"]) == pytest.approx(float(nll), rel=1e-5)
    assert not any(key.startswith(("backward", "log_q")) for key in log)


@pytest.mark.parametrize(
    "settings", [{"objective": "ami"}, {"objective": "mle"}, {"objective": "reward", "reward": "log-q"}]
)
def test_a_game_that_needs_the_backward_network(settings):
    alone = make_pair(make_task(), no_backward_network=True)
    with pytest.raises(AMIError, match="needs the backward network"):
        make_criterion(make_task(), **settings).check_model(alone)


# ------------------------------------------------------------------ settings that cannot be

REFUSED = [
    ({"objective": "reward"}, "needs --reward, such as --reward chrf"),
    ({"objective": "mle", "reward": "chrf"}, "--reward has no effect with --objective mle"),
    ({"objective": "mle", "anchor_weight": 1.0}, "--anchor-weight has no effect"),
    ({"objective": "mle", "reward_length": "neutral"}, "--reward-length neutral has no effect"),
    ({"policy_loss": "minimum-risk", "num_samples": 1}, "pass --num-samples 2 or more"),
    ({"policy_loss": "minimum-risk", "sampler": "teacher-forced"}, "needs samples that differ"),
    ({"policy_loss": "minimum-risk", "baseline": "running-mean"}, "--baseline has no effect"),
    ({"policy_loss": "minimum-risk", "risk_alpha": 0.0}, "--risk-alpha must be positive"),
    ({"risk_alpha": 1.0}, "--risk-alpha belongs to --policy-loss minimum-risk"),
    ({"reward": "no_such_module_here:f"}, "--reward no_such_module_here:f: cannot import"),
]


@pytest.mark.parametrize("settings, message", REFUSED)
def test_refused(settings, message):
    with pytest.raises(AMIError) as error:
        make_criterion(make_task(), **settings)
    assert message in str(error.value)


def test_minimum_risk_under_noise():
    task = make_task()
    with pytest.raises(AMIError, match="pass --no-latent-noise"):
        make_criterion(task, policy_loss="minimum-risk").check_model(make_pair(task))
