"""The phases of adversarial REINFORCE against sums over every reply that the generator can write."""

import math

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from unit.exact import EVERY_SAMPLE, PAD
from unit.sampled_gradients import assert_unbiased, exact_gradient, flat
from unit.tiny_gan import HISTORIES, exact_games, make_criterion, make_gan, make_histories, make_task

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.criterions.dialog_gan_rewards import step_rewards
from fairseq_ami.generation.rollout import Rollout, roll_out
from fairseq_ami.generation.sampler import Samples
from fairseq_ami.objectives import policy_loss

COPIES, UPDATES = 150, 12


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def model(task):
    return make_gan(task)


def gradient(model, loss, player="generator", keep=False):
    weights = list(model.player_networks()[player].parameters())
    grads = torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=keep)
    return flat([torch.zeros_like(w) if g is None else g for g, w in zip(grads, weights)])


def sampled(task, model, updates=UPDATES, copies=COPIES, mean=None, **settings):
    """The generator's gradient in each of many updates, for one copy of the histories; (updates, weights)."""
    criterion, batch = make_criterion(task, **settings), make_histories(task, copies)
    rows = [
        gradient(model, criterion(model, batch, Step("generator", update, mean))[0] / copies)
        for update in range(updates)
    ]
    return torch.stack(rows)


# ------------------------------------------------------------------ the generator


def whole(tokens):
    """One reply as the sampler gives it, padded to three symbols, and what of it was chosen."""
    padded = torch.tensor([tokens + [PAD] * (3 - len(tokens))])
    actions = torch.arange(3).unsqueeze(0) < min(len(tokens), 2)
    return Samples(padded, actions)


def test_rewards_of_steps_give_the_gradient_of_the_expected_judgement(model):
    """sum_y P(y) sum_t Q(y_1..t) grad log p(y_t) = grad E[D] = sum_y P(y) D(y) grad log P(y)."""
    for one in exact_games(model):
        out = one.encode()[0]
        every_step = whole_reply = 0.0
        for tokens in EVERY_SAMPLE:
            chosen = range(one.choices(tokens))
            logits = model.forward_model.decoder(torch.tensor([[2, *tokens[:-1]]]), encoder_out=out)[0][0]
            allowed = torch.log_softmax(logits[:, [2, 3, 4, 5]], 1)
            log_p = torch.stack([allowed[t, [2, 3, 4, 5].index(tokens[t])] for t in chosen])
            q = torch.tensor([one.value(tokens[: t + 1]) for t in chosen])
            assert q[-1].item() == pytest.approx(one.human(tokens), rel=1e-5)  # the last choice earns D(x, y)
            p = log_p.sum().exp().detach()
            every_step = every_step + p * policy_loss(log_p.view(1, 1, -1), q.view(1, 1, -1)).sum()
            whole_reply = (
                whole_reply + p * policy_loss(log_p.sum().view(1, 1), torch.tensor([[one.human(tokens)]])).sum()
            )
        want = gradient(model, one.loss())
        assert want.norm() > 0.05
        assert torch.allclose(gradient(model, every_step, keep=True), want, atol=1e-6)
        assert torch.allclose(gradient(model, whole_reply), want, atol=1e-6)


@pytest.mark.parametrize("baseline", ["none", "leave-one-out", "running-mean", "network"])
@pytest.mark.parametrize("rewards", ["none", "monte-carlo"])
def test_the_sampled_gradient_is_unbiased(task, model, rewards, baseline):
    """Whatever the words earn and whatever b(x) is subtracted."""
    with torch.no_grad():
        model.baseline.weight.normal_(std=0.1)
    want = exact_gradient(model, "generator", sum(one.loss() for one in exact_games(model)))
    assert_unbiased(sampled(task, model, mean=0.4, step_rewards=rewards, baseline=baseline), want)


@pytest.mark.parametrize("arch", ["ami_lstm", "ami_hred"])
def test_other_generators(task, arch):
    model = make_gan(task, arch)
    want = exact_gradient(model, "generator", sum(one.loss() for one in exact_games(model)))
    assert_unbiased(sampled(task, model, step_rewards="monte-carlo"), want)


def test_a_reward_that_misses_the_last_symbol_would_be_seen(task, model, monkeypatch):
    """The released code pays the last symbol what the prefix before it earned."""
    true = step_rewards

    def released(*args):
        found = true(*args)
        return torch.cat([found[:, :1], found[:, :-1]], 1)

    monkeypatch.setattr("fairseq_ami.criterions.dialog_gan.step_rewards", released)
    want = exact_gradient(model, "generator", sum(one.loss() for one in exact_games(model)))
    with pytest.raises(AssertionError):
        assert_unbiased(sampled(task, model, step_rewards="monte-carlo"), want)


def test_steps_have_less_variance_than_whole_replies(task, model):
    settings = {"baseline": "none", "updates": 20, "copies": 2}
    variances = [
        float(sampled(task, model, step_rewards=kind, **settings).var(0).sum()) for kind in ("none", "monte-carlo")
    ]
    assert variances[1] < variances[0]


def one_rollout(tokens):
    samples = Samples(
        torch.cat([whole(one).tokens for one in tokens]), torch.cat([whole(one).actions for one in tokens])
    )
    return Rollout(samples, None, None, None)


def test_monte_carlo_rewards_are_unbiased(task, model):
    """The mean over many updates of what each word earns, against Q(y_1..t) summed over all completions."""
    criterion, batch = make_criterion(task, step_rewards="monte-carlo", completions=5), make_histories(task)
    replies = [[4, 5, 2], [3, 2], [5, 4, 2], [2]]  # two of each history
    games = [game for game in exact_games(model) for _ in range(2)]
    log, found = {}, []
    for update in range(80):
        args = (model, batch, one_rollout(replies), criterion.cfg, criterion.sampling, update, log)
        found.append(step_rewards(*args))
    assert log["completions"] == 5 * 3  # the prefixes 4, 3 and 5: nothing but the end can follow the others
    found = torch.stack(found).double()
    for row, (game, tokens) in enumerate(zip(games, replies)):
        for place in range(3):
            chosen = place < game.choices(tokens)
            want = game.value(tokens[: place + 1]) if chosen else 0.0
            error = float(found[:, row, place].std() / math.sqrt(len(found)))
            assert float(found[:, row, place].mean()) == pytest.approx(want, abs=4 * error + 1e-6), (tokens, place)
            assert not chosen or place < game.choices(tokens) - 1 or error < 1e-7  # the last one is exact


def test_rewards_of_whole_replies_and_of_prefixes(task, model):
    replies, batch = [[4, 5, 2], [3, 2], [5, 4, 2], [2]], make_histories(task)
    games = [game for game in exact_games(model) for _ in range(2)]
    for kind in ("none", "prefix"):
        criterion = make_criterion(task, step_rewards=kind)
        found = step_rewards(model, batch, one_rollout(replies), criterion.cfg, criterion.sampling, 0, {})
        for row, (game, tokens) in enumerate(zip(games, replies)):
            last = game.choices(tokens) - 1
            parts = [tokens if kind == "none" or t == last else tokens[: t + 1] for t in range(last + 1)]
            want = [game.human(part) for part in parts] + [0.0] * (2 - last)
            assert found[row].tolist() == pytest.approx(want, abs=1e-6)


def test_the_baseline_network_learns_the_mean_reward_and_nothing_else(task, model):
    """Its gradient is that of the squared error, and the discriminator, whose history it reads, gets none."""
    criterion, batch = make_criterion(task, step_rewards="none", baseline="network"), make_histories(task, 3)
    step = Step("generator", 4)
    model.set_players(criterion.movers("generator"))
    loss = criterion(model, batch, step)[0]
    found = gradient(model, loss, "baseline")
    rollout = roll_out(model, batch, criterion.sampling, 4, False, score=False)
    rewards = step_rewards(model, batch, rollout, criterion.cfg, criterion.sampling, 4, {})
    values = rewards[:, 0].view(-1, 2)  # all words of a reply earn the same
    known = model.discriminator.read(batch["net_input"]["src_tokens"])
    inputs = torch.cat([known, torch.ones(len(known), 1)], 1)
    want = (inputs * 2 * (0.5 - values.mean(1, keepdim=True))).sum(0)
    assert torch.allclose(found, want.double(), atol=1e-5)
    assert all(p.grad is None for p in model.discriminator.parameters())
    assert criterion.movers("generator") == {"generator", "baseline"}
    assert make_criterion(task).movers("generator") == make_criterion(task).movers("teacher") == {"generator"}


def test_rewards_are_scaled_by_what_is_known_before(task, model):
    batch = make_histories(task)
    plain, scaled = (make_criterion(task, reward_scale=kind) for kind in ("none", "advantage-std"))
    loss = plain(model, batch, Step("generator", 0))[0].item()
    assert scaled(model, batch, Step("generator", 0, advantage_std=0.25))[0].item() == pytest.approx(4 * loss, rel=1e-4)
    assert scaled(model, batch, Step("generator", 0))[0].item() == 0.0  # the first update gathers it
    running = make_criterion(task, baseline="running-mean")
    assert running(model, batch, Step("generator", 0))[0].item() == 0.0
    half = make_criterion(task, policy_weight=0.5)
    assert half(model, batch, Step("generator", 0))[0].item() == pytest.approx(loss / 2, rel=1e-4)


def test_what_is_logged_of_the_rewards(task, model):
    criterion, batch = make_criterion(task, baseline="none", step_rewards="none"), make_histories(task, 2)
    log = criterion(model, batch, Step("generator", 0))[2]
    rollout = roll_out(model, batch, criterion.sampling, 0, False, score=False)
    rewards = step_rewards(model, batch, rollout, criterion.cfg, criterion.sampling, 0, {})
    chosen = rewards[rollout.samples.actions].double()
    assert float(log["reward_count"]) == len(chosen)
    assert float(log["reward_sum"]) == pytest.approx(float(chosen.sum()))
    assert float(log["advantage_square"]) == pytest.approx(float(chosen.pow(2).sum()))


# ------------------------------------------------------------------ the teacher


@pytest.mark.parametrize("arch", ["ami_transformer", "ami_lstm", "ami_hred"])
def test_the_teacher_forced_step_is_stock_cross_entropy(task, arch):
    model, batch = make_gan(task, arch), make_histories(task, 2)
    loss, size, _ = make_criterion(task)(model, batch, Step("teacher", 0))
    stock_loss, stock_size, _ = CrossEntropyCriterion(task, sentence_avg=False)(model.forward_model, batch)
    assert size == stock_size == batch["ntokens"] and loss.item() == pytest.approx(stock_loss.item(), rel=1e-5)
    assert torch.allclose(gradient(model, loss), gradient(model, stock_loss), atol=1e-6)


# ------------------------------------------------------------------ the discriminator


def test_the_discriminator_descends_the_exact_cross_entropy(task, model):
    want = 0.0
    for one, (_, target) in zip(exact_games(model), HISTORIES):
        known = model.discriminator.read(one.source)

        def human(tokens, known=known):
            return torch.sigmoid(model.discriminator.judge(known, torch.tensor([tokens])))[0]

        out = one.encode()[0]
        fake = sum(one.log_p(y, out).exp().detach() * torch.log(1 - human(y)) for y in EVERY_SAMPLE)
        want = want - 0.5 * torch.log(human([4 + w for w in target] + [2])) - 0.5 * fake
    exact = gradient(model, want, "discriminator")
    criterion, batch = make_criterion(task), make_histories(task, COPIES)
    rows = [
        gradient(model, criterion(model, batch, Step("discriminator", update))[0] / COPIES, "discriminator")
        for update in range(UPDATES)
    ]
    assert_unbiased(torch.stack(rows), exact)


def best_of_search(one):
    """By enumeration: the highest log-probability per symbol, the end symbol counted as fairseq counts it."""
    out, scores = one.encode()[0], {}
    for tokens in EVERY_SAMPLE[1:]:  # its replies have a word at least
        logits = one.model.forward_model.decoder(torch.tensor([[2, *tokens[:-1]]]), encoder_out=out)[0][0]
        log_p = torch.log_softmax(logits, 1)[range(len(tokens)), tokens]
        scores[tuple(tokens)] = log_p.sum().item() / len(tokens)
    return max(scores, key=scores.get)


def words(rows):
    return [tuple(token for token in row if token != PAD) for row in rows.tolist()]


def test_replies_of_beam_search_take_the_place_of_samples(task, model):
    """Of all histories, of none, or of a random share; the model stays in training mode."""
    batch = make_histories(task, 40)
    samples = roll_out(model, batch, make_criterion(task).sampling, 0, False, score=False).samples.tokens
    best = [best_of_search(one) for one in exact_games(model)]
    want = [best[1 if length == 2 else 0] for length in batch["net_input"]["src_lengths"] for _ in range(2)]
    none, half, whole = (
        words(make_criterion(task, beam_share=share)._some_searched(model, batch, samples, 0)) for share in (0, 0.5, 1)
    )
    assert model.training and model.forward_model.training
    assert none == words(samples) and whole == want
    searched = [half[row : row + 2] == want[row : row + 2] for row in range(0, 160, 2)]
    assert all(half[2 * at : 2 * at + 2] == none[2 * at : 2 * at + 2] for at in range(80) if not searched[at])
    assert 0.3 < sum(searched) / 80 < 0.9  # some of the samples are what the search finds
    loss = make_criterion(task, beam_share=0.5)(model, batch, Step("discriminator", 0))[0]
    assert math.isfinite(loss.item())


def test_prefixes_are_drawn_uniformly(task, model):
    """A whole reply, its end included, as often as any shorter part of it."""
    criterion, count = make_criterion(task, step_rewards="prefix"), 3000
    replies = torch.tensor([[4, 5, 4, 2], [4, 2, PAD, PAD]]).repeat(count, 1)
    found = criterion._prefix(replies, torch.arange(2 * count) * 7919)
    assert bool((found.eq(replies) | found.eq(PAD)).all())
    lengths = found.ne(PAD).sum(1).view(count, 2)
    for column, longest in ((0, 4), (1, 2)):
        shares = torch.bincount(lengths[:, column], minlength=5)[1 : longest + 1] / count
        assert shares.sum() == 1
        assert (shares - 1 / longest).abs().max() < 4 * math.sqrt(0.25 / count)


def test_validation_tells_both_networks(task, model):
    model.eval()
    batch, criterion = make_histories(task), make_criterion(task, step_rewards="none")
    loss, size, log = criterion(model, batch)
    stock = CrossEntropyCriterion(task, sentence_avg=False)(model.forward_model, batch)
    assert loss.item() == pytest.approx(stock[0].item(), rel=1e-5) and size == stock[1]
    games = exact_games(model)
    right = sum(game.human([4 + w for w in target] + [2]) > 0.5 for game, (_, target) in zip(games, HISTORIES))
    assert float(log["human_right"]) == right and log["judged"] == 2
