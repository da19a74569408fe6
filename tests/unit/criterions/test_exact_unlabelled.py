"""Sentences without references: their terms against exact sums over every sentence (exact.py), and in dialogue."""

import sys
import types

import pytest
import torch
from fairseq.data import LanguagePairDataset
from fairseq.data.language_pair_dataset import collate
from unit.criterions.conftest import PAIRS
from unit.data.test_dialogue import SEP, A, B, C, D, E, F, dialogue_task
from unit.exact import EVERY_SAMPLE, Exact, forward_loss
from unit.sampled_gradients import COPIES, assert_unbiased, exact_gradient, flat, sampled_gradients
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.data.dialogue import DialogueDataset
from fairseq_ami.errors import AMIError

SOURCES = [[2, 1], [0]]  # two lengths, and other than those of the pairs
FIRST = 2 * COPIES  # ids follow those of the pairs


def unlabelled(task, count=COPIES):
    rows = [
        {"id": FIRST + i, "source": torch.tensor([4 + word for word in source] + [2]), "target": None}
        for i, source in enumerate(SOURCES * count)
    ]
    return collate(rows, task.source_dictionary.pad(), 2)


@pytest.fixture
def mixed(game):
    """The game whose batch brings sentences without references along, and their exact objectives."""
    task, model, batch, exact = game
    task.cfg.unlabelled = "more"
    eps = exact()[0].eps

    def others(**settings):
        return [Exact(model, source, [0], eps, **settings) for source in SOURCES]

    return (task, model, {**batch, "unlabelled": unlabelled(task)}, exact), others


@pytest.fixture
def few():
    """A pair, and a batch of a few pairs with sentences."""
    task = make_task()
    task.cfg.unlabelled = "more"
    batch = make_batch(task, PAIRS * 3)
    return task, make_pair(task, noise_scale=0.8), {**batch, "unlabelled": unlabelled(task, 4)}


def gradient(few, phase, step=None, without=False, **settings):
    """The criterion's gradient in one update; *without* takes the sentences out of the batch."""
    task, model, batch = few
    if without:
        batch = {name: value for name, value in batch.items() if name != "unlabelled"}
    loss = make_criterion(task, num_samples=4, **settings)(model, batch, step or Step(phase, 3, **told(phase)(3)))[0]
    weights = list(model.player_networks()[phase].parameters())
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    return flat([torch.zeros_like(w) if g is None else g for w, g in zip(weights, grads)])


def told(phase):
    """What the criterion is told about the sentences in each update."""
    return lambda update: {"unlabelled": Step(phase, update)}


# ------------------------------------------------------------------ forward


def test_forward(mixed):
    """-E[K r] over the pairs and -w E[r] over the others: noise as ever, and no K, which needs a reference."""
    game, others = mixed
    loss = forward_loss(game[3](), True) + 3.0 * forward_loss(others(), False)
    exact = exact_gradient(game[1], "forward", loss)
    settings = {"mle_weight": 0.0, "cosine_multiplier": "both", "unlabelled_weight": 3.0}
    sampled = sampled_gradients(game, "forward", step=told("forward"), **settings)
    assert_unbiased(sampled, exact)
    with pytest.raises(AssertionError):  # the sentences have a say
        assert_unbiased(sampled, exact_gradient(game[1], "forward", forward_loss(game[3](), True)))


def test_the_policys_weight_is_that_of_all_samples(few):
    once, twice = (gradient(few, "forward", mle_weight=0.0, policy_weight=w) for w in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once, rtol=1e-5, atol=1e-6)
    assert once.norm() > 0.05


def test_statistics_of_their_own(few):
    """Baseline and scale of the sentences are those of sentences; without any yet they teach nothing."""
    settings = {"mle_weight": 0.0, "baseline": "running-mean", "reward_scale": "running-std"}

    def found(scale=None, baseline=-1.2, **more):
        other = Step("forward", 3) if scale is None else Step("forward", 3, baseline, scale)
        return gradient(few, "forward", Step("forward", 3, -1.0, 0.5, unlabelled=other), **settings, **more)

    alone = found(without=True)
    assert torch.equal(found(), alone) and alone.norm() > 0.05
    quarter, half, other_baseline = (found(*known) - alone for known in ((0.25,), (0.5,), (0.25, -1.0)))
    torch.testing.assert_close(quarter, 2 * half, rtol=1e-3, atol=1e-4)
    assert (quarter - other_baseline).norm() > 0.05


# ------------------------------------------------------------------ backward


def test_backward_is_cooperative(mixed):
    """-w E[log Q(S|T')] of the whole sentence, T' drawn from P under noise."""
    game, others = mixed
    loss = 0.0
    for one in others():
        encoder_out = one.encode()[0]
        for tokens in EVERY_SAMPLE:
            loss = loss - 0.5 * one.log_p(tokens, encoder_out).exp().detach() * one.log_q(tokens).sum()
    exact = exact_gradient(game[1], "backward", loss)
    settings = {"real_weight": 0.0, "adversarial_weight": 0.0, "unlabelled_weight": 0.5}
    assert_unbiased(sampled_gradients(game, "backward", step=told("backward"), **settings), exact)


@pytest.mark.parametrize("fake_loss", ["log-likelihood", "unlikelihood", "hinge"])
def test_the_adversarial_term_does_not_touch_them(few, fake_loss):
    """What they add is what they are alone, however hard the adversary is taught on the pairs."""
    settings = {"adversarial_weight": 5.0, "fake_loss": fake_loss}
    both, without = (gradient(few, "backward", without=out, **settings) for out in (False, True))
    alone = gradient(few, "backward", real_weight=0.0, adversarial_weight=0.0)
    torch.testing.assert_close(both - without, alone, rtol=1e-3, atol=1e-4)
    assert alone.norm() > 0.05 and without.norm() > 0.05


def test_backward_switched_off(few):
    """Bit for bit as if they were not there."""
    off = gradient(few, "backward", unlabelled_backward="off")
    assert torch.equal(off, gradient(few, "backward", without=True)) and off.norm() > 0


@pytest.mark.parametrize("phase", ["noise", "pretrain"])
def test_other_phases_do_not_use_them(few, phase):
    task, model, batch = few
    with_them = make_criterion(task)(model, batch, Step(phase, 4, **told(phase)(4)))[0]
    assert torch.equal(with_them, make_criterion(task)(model, batch, Step(phase, 4))[0])


# ------------------------------------------------------------------ logs


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_a_spare_sentence_counts_for_nothing(few, phase):
    """It leaves zeros under the names that other workers log, and no trace in the loss."""
    task, model, batch = few
    criterion = make_criterion(task)
    spare = {**batch, "unlabelled": {**batch["unlabelled"], "spare": True}}
    loss, _, log = criterion(model, spare, Step(phase, 4, **told(phase)(4)))
    assert torch.equal(loss, criterion(model, batch, Step(phase, 4))[0])
    counted = criterion(model, batch, Step(phase, 4, **told(phase)(4)))[2]
    assert log.keys() == counted.keys() and not torch.equal(counted["loss"], loss)
    mine = [name for name in log if name.startswith("unlabelled_")]
    assert mine and not any(float(log[name]) for name in mine)
    assert any(float(counted[name]) for name in mine)


def test_what_they_log(few):
    """Of the sentences alone: rewards per token of S, log Q, counts. There is no K and no length of a reference."""
    task, model, batch = few
    log = make_criterion(task, num_samples=3)(model, batch, Step("forward", 4, **told("forward")(4)))[2]
    counts = [log[f"unlabelled_{name}"] for name in ("reward_count", "sample_rows", "reward_log-q_count")]
    assert counts == 3 * [3 * 8]
    assert float(log["unlabelled_reward_sum"]) == pytest.approx(float(log["unlabelled_reward_log-q_sum"]), rel=1e-5)
    assert not {"unlabelled_multiplier_sum", "unlabelled_sample_reference_tokens"} & log.keys()
    assert {"multiplier_sum", "sample_reference_tokens"} <= log.keys()


# ------------------------------------------------------------------ dialogue

HISTORIES = [[A, B, SEP, C, SEP, D, E], [B, C, D], [F, SEP]]  # the last one ends in an empty utterance


@pytest.mark.parametrize("phase", ["forward", "backward"])
@pytest.mark.parametrize("arch", ["ami_transformer", "ami_lstm"])
def test_dialogue(arch, phase, monkeypatch):
    """log Q of the last utterance given what stands before it and T', by the stock network, one row at a time."""
    module = types.ModuleType("listener_of_this_test")
    module.seen = []
    module.listen = lambda sampled: module.seen.append(sampled) or [0.0] * len(sampled)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    task = dialogue_task()
    model = make_pair(task, arch=arch)
    rows = [torch.tensor([*history, 2]) for history in HISTORIES]
    alone = LanguagePairDataset(rows, [len(row) for row in rows], task.source_dictionary, shuffle=False)
    pairs = LanguagePairDataset(rows, alone.src_sizes, task.source_dictionary, rows, alone.src_sizes,
                                task.source_dictionary, shuffle=False)  # fmt: skip
    batches = [DialogueDataset(data, SEP, 20, (20, 20)) for data in (pairs, alone)]
    batch, other = (data.collater([data[i] for i in range(3)]) for data in batches)
    criterion = make_criterion(task, reward="log-q,listener_of_this_test:listen", num_samples=2)
    log = criterion(model, {**batch, "unlabelled": other}, Step(phase, 1, **told(phase)(1)))[2]
    if phase == "backward":  # the same samples, seen in the forward phase
        criterion(model, {**batch, "unlabelled": other}, Step("forward", 1, **told("forward")(1)))
    seen = module.seen[-1]
    assert seen.references is None and seen.reference_ids is None and len(seen) == 6
    total = 0.0
    for history, output in zip(seen.source_ids, seen.output_ids):
        assert SEP not in output
        start = len(history) - history[::-1].index(SEP) if SEP in history else 0
        read, last = torch.tensor([[*history[:start], *output, 2]]), [*history[start:], 2]
        logits = model.backward_model(read, torch.tensor([read.size(1)]), torch.tensor([[2, *last[:-1]]]))[0][0]
        total += torch.log_softmax(logits, -1)[torch.arange(len(last)), last].sum().item()
    name = "log_q_sum" if phase == "forward" else "backward_nll_fake"
    sign = 1 if phase == "forward" else -1
    assert float(log[f"unlabelled_{name}"]) == pytest.approx(sign * total, rel=1e-4)


# ------------------------------------------------------------------ settings that cannot be

TEXT = {"unlabelled": "more"}
REFUSED = [
    (TEXT, {"reward": "chrf"}, "--reward chrf compares with references"),
    (TEXT, {"reward": "log-q,bleu=0.1"}, "--reward bleu compares with references"),
    (TEXT, {"objective": "mle"}, "--unlabelled has no effect with --objective mle"),
    (TEXT, {"sampler": "teacher-forced", "baseline": "running-mean"}, "teacher-forced follows a reference"),
    (TEXT, {"objective": "mmi-fixed", "unlabelled_backward": "off"}, "--unlabelled-backward has no effect"),
    (TEXT, {"unlabelled_weight": 0.0}, "--unlabelled-weight must be a positive number"),
    (TEXT, {"unlabelled_weight": float("nan")}, "--unlabelled-weight must be a positive number"),
    ({}, {"unlabelled_weight": 2.0}, "--unlabelled-weight is for the sentences of --unlabelled"),
    ({}, {"unlabelled_backward": "off"}, "--unlabelled-backward is for the sentences of --unlabelled"),
]


@pytest.mark.parametrize("given, settings, message", REFUSED)
def test_refused(given, settings, message):
    task = make_task()
    vars(task.cfg).update(given)
    with pytest.raises(AMIError) as error:
        make_criterion(task, **settings)
    assert message in str(error.value)
