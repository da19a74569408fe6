"""What the criterion computes and logs on a fixed batch, recomputed with stock networks, a sentence at a time."""

import math

import pytest
import torch
from fairseq.logging import metrics
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_report import log_metrics
from fairseq_ami.criterions.ami_turn import Step, word_counts
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.rollout import roll_out
from fairseq_ami.generation.sampler import sample
from fairseq_ami.random_streams import VALIDATION_UPDATE, Stream, stream_keys

PAD, EOS = 1, 2
ARCHS = ["ami_transformer", "ami_lstm", "ami_hred"]
PAIRS = [([0, 2, 1, 1], [0]), ([1], [0, 1, 1]), ([2, 0], [1])]


def words(tokens):
    return tokens[tokens.ne(PAD)].tolist()


def token_log_q(network, source, target):
    """log probability of each token of *target* given *source*, by a stock network, without padding."""
    with torch.no_grad():
        logits = network(torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[EOS] + target[:-1]]))[0][0]
    return [torch.log_softmax(logits[i], -1)[t].item() for i, t in enumerate(target)]


def multiplier(model, real, fake, center=0.0):
    table = model.forward_model.decoder.embed_tokens.weight.detach()
    sides = [[t for t in side if t > 2] for side in (real, fake)]
    if not all(sides):
        return 1.0
    a, b = (table[side].mean(0) - center for side in sides)
    return 1 - (a @ b / a.norm() / b.norm()).item()


def rows_of(model, batch, criterion, update, noise, k):
    """(S, T, T', log Q of each token of S, K, r) of every sample."""
    rollout = roll_out(model, batch, criterion.sampling, update, noise, score=False)
    for row, tokens in enumerate(rollout.samples.tokens):
        source = words(batch["net_input"]["src_tokens"][row // k])
        real, fake = words(batch["target"][row // k]), words(tokens)
        log_q = token_log_q(model.backward_model, fake, source)
        yield source, real, fake, log_q, multiplier(model, real, fake), sum(log_q) / len(source)


@pytest.mark.parametrize("use_k", ["none", "backward", "both"])
@pytest.mark.parametrize("arch", ARCHS)
def test_forward_phase_by_hand(task, arch, use_k):
    """Rewards, K, bound and loss of a batch with padding on both sides."""
    model = make_pair(task, arch=arch, noise_scale=0.5)
    criterion = make_criterion(task, num_samples=3, cosine_multiplier=use_k, mle_weight=0.5, sample_max_len_b=5)
    batch = make_batch(task, PAIRS)
    loss, size, log = criterion(model, batch, Step("forward", 4))
    rows = list(rows_of(model, batch, criterion, 4, True, 3))
    rewards = torch.tensor([(k if use_k == "both" else 1.0) * r for *_, k, r in rows]).view(3, 3)
    log_prob = roll_out(model, batch, criterion.sampling, 4, True, score=True).log_prob.detach()
    nll = -sum(
        sum(token_log_q(model.forward_model, words(s), words(t)))
        for s, t in zip(batch["net_input"]["src_tokens"], batch["target"])
    )
    policy = 0.0
    for row in range(3):
        for col in range(3):
            others = [rewards[row, c].item() for c in range(3) if c != col]
            policy -= (rewards[row, col].item() - sum(others) / 2) * log_prob[row, col].item() / 3
    assert size == batch["ntokens"] == 2 + 4 + 2
    assert loss.item() == pytest.approx(0.5 * nll + policy, rel=1e-4)
    assert float(log["forward_nll"]) == pytest.approx(nll, rel=1e-5)
    assert float(log["reward_sum"]) == pytest.approx(rewards.sum().item(), rel=1e-5)
    assert float(log["reward_square"]) == pytest.approx(rewards.pow(2).sum().item(), rel=1e-5)
    assert float(log["multiplier_sum"]) == pytest.approx(sum(r[4] for r in rows), rel=1e-5)
    assert float(log["log_q_sum"]) == pytest.approx(sum(sum(r[3]) for r in rows), rel=1e-5)
    assert log["reward_count"] == 9 and log["sample_tokens"] == sum(len(r[2]) for r in rows)


@pytest.mark.parametrize("baseline", ["leave-one-out", "running-mean"])
def test_scale_of_the_advantages(task, baseline):
    """Divided by their own running spread; the first update gathers it, and learns from the references only."""
    model, batch = make_pair(task, noise_scale=0.5), make_batch(task, PAIRS)
    known = {"reward_mean": -1.25, "reward_std": 9.0}
    plain, scaled, first = (
        make_criterion(task, num_samples=3, mle_weight=0.0, baseline=baseline, reward_scale=kind)(
            model, batch, Step("forward", 4, **known, **more)
        )
        for kind, more in (("none", {}), ("advantage-std", {"advantage_std": 0.25}), ("advantage-std", {}))
    )
    assert scaled[0].item() == pytest.approx(plain[0].item() / 0.25, rel=1e-5) and first[0].item() == 0
    rows = torch.tensor([k * r for *_, k, r in rows_of(model, batch, make_criterion(task, num_samples=3), 4, True, 3)])
    rows = rows.view(3, 3)
    expected = rows + 1.25 if baseline == "running-mean" else 1.5 * (rows - rows.mean(1, keepdim=True))
    for _, _, log in (plain, scaled, first):
        assert float(log["advantage_square"]) == pytest.approx(expected.pow(2).sum().item(), rel=1e-4)
        assert float(log["advantage_sum"]) == pytest.approx(expected.sum().item(), rel=1e-4, abs=1e-5)
    unknown = make_criterion(task, num_samples=3, mle_weight=0.0, baseline=baseline, reward_scale="advantage-std")
    assert unknown(model, batch, Step("forward", 4))[0].item() == 0


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_centred_multiplier_by_hand(phase):
    """--center-cosine: the word w0 stands 5 times in the text, w1 twice, w2 once; fairseq counts <unk> once."""
    task = make_task(target_words=3)
    task.target_dictionary.count[4:] = [5, 2, 1]
    model = make_pair(task, noise_scale=0.5)
    criterion = make_criterion(task, num_samples=3, center_cosine=True, sample_max_len_b=5)
    batch = make_batch(task, PAIRS)
    table = model.forward_model.decoder.embed_tokens.weight.detach()
    center = (table[3] + 5 * table[4] + 2 * table[5] + table[6]) / 9
    rows = list(rows_of(model, batch, criterion, 4, True, 3))
    found = [multiplier(model, real, fake, center) for _, real, fake, *_ in rows]
    assert found != pytest.approx([multiplier(model, real, fake) for _, real, fake, *_ in rows], rel=0.1)
    _, _, log = criterion(model, batch, Step(phase, 4))
    if phase == "forward":
        rewards = [k * r for k, (*_, r) in zip(found, rows)]
        assert float(log["multiplier_sum"]) == pytest.approx(sum(found), rel=1e-4)
        assert float(log["reward_sum"]) == pytest.approx(sum(rewards), rel=1e-4)
    else:
        loss, _, log = make_criterion(
            task, num_samples=3, center_cosine=True, sample_max_len_b=5, real_weight=0.0, adversarial_weight=1.0
        )(model, batch, Step(phase, 4))
        terms = [k * sum(log_q) for k, (*_, log_q, _, _) in zip(found, rows)]
        assert loss.item() == pytest.approx(sum(terms) / 3, rel=1e-4)


def test_word_counts():
    """What is no word has no weight; a dictionary that counts nothing weighs all words alike."""
    task = make_task(target_words=3)
    task.target_dictionary.count[4:] = [5, 2, 1]
    assert word_counts(task.target_dictionary, (0, 1, 2, 6)).tolist() == [0, 0, 0, 1, 5, 2, 0]
    task.target_dictionary.count[4:] = [0, 0, 0]
    assert word_counts(task.target_dictionary, (0, 1, 2)).tolist() == [0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("arch", ARCHS)
def test_backward_phase_by_hand(task, arch):
    """NLL of S given T, and 0.7 mean K log Q(S|T') over the samples of each source."""
    model = make_pair(task, arch=arch, noise_scale=0.5)
    criterion = make_criterion(task, num_samples=2, adversarial_weight=0.7)
    batch = make_batch(task, PAIRS)
    loss, size, log = criterion(model, batch, Step("backward", 9))
    rows = list(rows_of(model, batch, criterion, 9, True, 2))
    real = -sum(sum(token_log_q(model.backward_model, t, s)) for s, t, *_ in rows) / 2  # each source stands there twice
    fake = sum(k * sum(log_q) for _, _, _, log_q, k, _ in rows) / 2
    assert size == 5 + 2 + 3
    assert loss.item() == pytest.approx(real + 0.7 * fake, rel=1e-4)
    assert float(log["backward_nll_real"]) == pytest.approx(real, rel=1e-5)
    assert float(log["backward_nll_fake"]) == pytest.approx(-sum(sum(r[3]) for r in rows), rel=1e-5)
    assert log["backward_nll_fake_tokens"] == 2 * size


@pytest.mark.parametrize("arch", ARCHS)
def test_validation_by_hand(task, arch):
    """Likelihoods of real pairs and the VIM bound under the own and a common Q: T' from P without noise."""
    model = make_pair(task, arch=arch, noise_scale=5.0).eval()
    other = make_pair(task, arch=arch, seed=8).eval()
    criterion = make_criterion(task, num_samples=2, sample_max_len_b=5)
    batch = make_batch(task, PAIRS)
    with torch.no_grad():
        loss, size, log = criterion(model, batch, common=[p.detach() for p in other.backward_model.parameters()])
    inputs, net = batch["net_input"], model.forward_model
    drawn = sample(
        net.decoder, model.encode(net, inputs["src_tokens"], inputs["src_lengths"]), net.encoder.reorder_encoder_out,
        criterion.sampling.policy, stream_keys(3, VALIDATION_UPDATE, Stream.TOKENS, batch["id"], 1),
        torch.full((3,), 5), PAD, EOS,
    )  # fmt: skip
    own = common = nll = back = total_k = 0.0
    for source, target, fake in zip(inputs["src_tokens"], batch["target"], drawn.tokens):
        source, target, fake = words(source), words(target), words(fake)
        own += sum(token_log_q(model.backward_model, fake, source))
        common += sum(token_log_q(other.backward_model, fake, source))
        nll -= sum(token_log_q(net, source, target))
        back -= sum(token_log_q(model.backward_model, target, source))
        total_k += multiplier(model, target, fake)
    assert (loss.item(), size) == (pytest.approx(nll, rel=1e-5), 8)
    wanted = {"valid_nll": nll, "backward_nll_real": back, "multiplier_sum": total_k}
    wanted.update(log_q_sum=own, log_q_common_sum=common)
    for name, value in wanted.items():
        assert float(log[name]) == pytest.approx(value, rel=1e-5), name


def test_logged_ratios(task, pair):
    """What the user reads: bound a sentence and a token, mean reward and spread, perplexity base 2, gap."""
    criterion = make_criterion(task)
    batch = make_batch(task, PAIRS)
    with torch.no_grad():
        log = criterion(pair.eval(), batch, common=[])[2]
    with metrics.aggregate() as agg:
        log_metrics([log, log])
    values = agg.get_smoothed_values()
    assert values["vim_bound"] == pytest.approx(float(log["log_q_sum"]) / 3, abs=1e-3)
    assert values["vim_bound_token"] == pytest.approx(float(log["log_q_sum"]) / 10, abs=1e-3)
    assert values["vim_bound_common"] == values["vim_bound"]
    assert values["nll_loss"] == pytest.approx(float(log["valid_nll"]) / 8 / math.log(2), abs=1e-3)
    gap = (float(log["backward_nll_fake"]) - float(log["backward_nll_real"])) / 10
    assert values["nll_gap"] == pytest.approx(gap, abs=1e-3)


def test_no_common_bound_without_a_common_q(task, pair):
    """fairseq-validate knows no frozen Q: the own Q must not stand under the name that makes systems comparable."""
    with torch.no_grad(), metrics.aggregate() as agg:
        log_metrics([make_criterion(task)(pair.eval(), make_batch(task, PAIRS))[2]])
    assert {"vim_bound", "vim_bound_token"} <= set(agg.get_smoothed_values())
    assert not [name for name in agg.get_smoothed_values() if name.endswith("_common")]


@pytest.mark.parametrize("phase", ["pretrain", "forward", "backward", "noise"])
@pytest.mark.parametrize("arch", ARCHS)
def test_terms_add_up_over_micro_batches(task, arch, phase):
    """Loss, gradient and denominator of a batch = sums over its sentences one by one (running-mean baseline)."""
    model = make_pair(task, arch=arch, noise_scale=0.5)
    criterion = make_criterion(task, baseline="running-mean", reward_scale="running-std", sample_max_len_a=1.0)
    step = Step(phase, 3, -1.0, 0.5)
    batches = [make_batch(task, PAIRS, [5, 6, 7])] + [make_batch(task, [p], [5 + i]) for i, p in enumerate(PAIRS)]
    found = []
    for batch in batches:
        model.zero_grad()
        loss, size, _ = criterion(model, batch, step)
        loss.backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
        found.append((loss.item(), size, grads))
    whole, parts = found[0], found[1:]
    assert whole[0] == pytest.approx(sum(p[0] for p in parts), rel=1e-4)
    assert whole[1] == sum(p[1] for p in parts)
    for index, grad in enumerate(whole[2]):
        assert torch.allclose(grad, sum(p[2][index] for p in parts), atol=1e-4)


@pytest.mark.parametrize(
    "phase, untouched", [("forward", {"backward"}), ("noise", {"backward"}), ("backward", {"forward", "noise"})]
)
def test_samples_and_rewards_carry_no_gradient(task, pair, phase, untouched):
    """Though every weight requires gradients here: rewards do not reach Q, samples and K do not reach P."""
    criterion = make_criterion(task)
    criterion(pair, make_batch(task, PAIRS), Step(phase, 0))[0].backward()
    for player, network in pair.player_networks().items():
        if player in untouched:
            assert all(p.grad is None or not p.grad.any() for p in network.parameters())
    reached = pair.player_networks()[phase].parameters()
    assert any(p.grad is not None and p.grad.any() for p in reached)


@pytest.mark.parametrize("settings", [{"baseline": "running-mean"}, {"reward_scale": "running-std"}])
def test_first_update_of_a_phase_only_gathers_statistics(task, pair, settings):
    """No running mean or spread yet: rewards are logged, nothing is learnt from them."""
    loss, _, log = make_criterion(task, mle_weight=0.0, **settings)(pair, make_batch(task, PAIRS), Step("forward", 0))
    assert loss.item() == 0.0 and log["reward_count"] == 6
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in pair.parameters())


@pytest.mark.parametrize("phase", ["forward", "backward", "noise"])
@pytest.mark.parametrize("arch", ARCHS)
def test_empty_samples_are_harmless(task, arch, phase):
    """A policy that ends at once: finite loss, finite gradients, K = 1."""
    model = make_pair(task, arch=arch)
    criterion = make_criterion(task, sample_max_len_b=1)  # nothing but the forced end fits
    loss, _, log = criterion(model, make_batch(task, PAIRS), Step(phase, 0))
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert log["sample_tokens"] == 6 and log["sample_cut"] == 6
    if phase != "backward":
        assert float(log["multiplier_sum"]) == 6.0


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_rewards_and_log_prob_are_without_dropout(task, dropout):
    """The same rewards and log P whatever the dropout of both networks."""
    plain, model = make_pair(task), make_pair(task, dropout=dropout, attention_dropout=dropout)
    model.load_state_dict(plain.state_dict())
    criterion = make_criterion(task, mle_weight=0.0)
    batch = make_batch(task, PAIRS)
    want, got = (criterion(m.train(), batch, Step("forward", 2))[0].item() for m in (plain, model))
    assert got == pytest.approx(want, rel=1e-5)


def test_teacher_forced_sampler_runs_in_every_phase(task, pair):
    """Finite losses; the samples follow the gold length."""
    criterion = make_criterion(task, sampler="teacher-forced", baseline="running-mean", num_samples=1)
    for phase in ("forward", "backward", "noise"):
        loss, _, log = criterion(pair, make_batch(task, PAIRS), Step(phase, 0, -1.0, 1.0))
        assert torch.isfinite(loss) and log["sample_tokens"] <= 8


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_samples": 0, "baseline": "running-mean"}, "--num-samples must be at least 1"),
        ({"num_samples": 1}, "--num-samples 2 or more, or --baseline running-mean"),
        ({"sample_temperature": 0.0}, "--sample-temperature must be positive"),
        ({"sample_topp": 0.0}, "--sample-topp in"),
        ({"sample_topp": 1.5}, "--sample-topp in"),
        ({"sample_topk": -1}, "--sample-topk 0 or more"),
        ({"sampler": "teacher-forced", "sample_topk": 3}, "belong to --sampler ancestral"),
        ({"objective": "mmi", "cosine_multiplier": "backward"}, "--cosine-multiplier backward has no effect"),
        (
            {"objective": "mmi", "multiplier_similarity": "bleu"},
            "--multiplier-similarity has no effect with --objective",
        ),
        (
            {"cosine_multiplier": "none", "multiplier_similarity": "chrf"},
            "--multiplier-similarity has no effect with --cos",
        ),
        ({"center_cosine": True, "multiplier_similarity": "bleu"}, "--center-cosine has no effect"),
        ({"objective": "mmi", "fake_loss": "hinge"}, "--fake-loss has no effect with --objective mmi"),
        ({"objective": "mle", "adversarial_weight": 0.5}, "--adversarial-weight has no effect with --objective mle"),
        ({"objective": "mmi-fixed", "adversarial_weight": 0.5}, "--adversarial-weight has no effect"),
        ({"objective": "mmi-fixed", "real_weight": 0.5}, "--real-weight has no effect with --objective mmi-fixed"),
    ],
)
def test_settings_that_cannot_work_are_named(task, settings, message):
    """An AMIError that says what to pass."""
    with pytest.raises(AMIError) as error:
        make_criterion(task, **settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "criterion, model, refused",
    [
        ({"objective": "mmi"}, {}, True),
        ({"objective": "mmi-fixed"}, {}, True),
        ({"objective": "ami"}, {"no_latent_noise": True}, True),
        ({"objective": "ami"}, {}, False),
        ({"objective": "mle"}, {}, False),
        ({"objective": "mmi", "baseline": "running-mean"}, {}, False),
    ],
)
def test_teacher_forcing_that_would_teach_nothing(task, criterion, model, refused):
    """Without noise the samples of a source are one and the same: leave-one-out would leave no gradient."""
    pair, batch = make_pair(task, **model), make_batch(task, PAIRS)
    built = make_criterion(task, sampler="teacher-forced", mle_weight=0.0, **criterion)
    if refused:
        with pytest.raises(AMIError, match="--baseline running-mean"):
            built.check_model(pair)
    else:
        built.check_model(pair)
    if built.game.rewards:  # the refusal is about this
        built(pair, batch, Step("forward", 0, reward_mean=-1.0))[0].backward()
        moved = any(p.grad is not None and bool(p.grad.any()) for p in pair.forward_model.parameters())
        assert moved != refused


def test_validation_bound_is_of_p_itself(task):
    """Temperature and truncation of the training samples leave the validated bound alone (equation 3)."""
    model = make_pair(task).eval()
    batch = make_batch(task, PAIRS)
    logs = []
    for settings in ({}, {"sample_temperature": 0.1, "sample_topk": 1, "num_samples": 3}):
        with torch.no_grad():
            logs.append(make_criterion(task, **{"num_samples": 2, **settings})(model, batch)[2])
    for key in ("log_q_sum", "entropy_sum", "sample_tokens"):
        assert float(logs[0][key]) == float(logs[1][key])
    assert float(logs[1]["entropy_sum"]) > 0  # one word at a time would have none
