"""The criterion against its terms written out, the update number, enumerable bounds and stock cross-entropy."""

import math

import pytest
import torch
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.logging import metrics
from unit.models.test_hred import PAIRS
from unit.tiny_hred import make_batch, make_model, make_task
from unit.tiny_latent import KINDS, exact_log_likelihood, make_latent, make_world, repeated_batch

from fairseq_ami.criterions.dialog_config import DialogELBOConfig
from fairseq_ami.criterions.dialog_elbo import DialogELBO
from fairseq_ami.errors import AMIError


def make_criterion(task, **settings):
    return DialogELBO(DialogELBOConfig(**{"seed": 3, "sentence_avg": False, **settings}), task)


def logged(*logs):
    with metrics.aggregate() as found:
        DialogELBO.reduce_metrics(list(logs))
        return found.get_smoothed_values()


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_what_it_says(name):
    """Weights 1 in validation; in training the annealed weight, and the bag of words."""
    task = make_task()
    model, batch = make_latent(name, task, bow_hidden=5), make_batch(task, PAIRS)
    criterion = make_criterion(task, kl_anneal="linear", kl_anneal_updates=8, kl_weight=0.5, bow_weight=0.3)
    model.set_num_updates(4)
    loss, size, log = criterion(model, batch)
    divergence = log["kl_sentence"] + log.get("kl_conversation", 0.0)
    torch.testing.assert_close(loss, log["reconstruction"] + 0.25 * divergence + 0.3 * log["bow"])
    assert size == batch["ntokens"] == 11 and log["kl_weight"] / 4 == 0.25
    assert ("kl_conversation" in log) == (name == "vhcr")
    loss, _, log = criterion(model.eval(), batch)
    torch.testing.assert_close(loss, log["reconstruction"] + log["kl_sentence"] + log.get("kl_conversation", 0.0))


@pytest.mark.parametrize("name", KINDS)
def test_random_numbers_follow_from_update_and_id(name):
    task = make_task()
    model, criterion = make_latent(name, task, word_dropout=0.3), make_criterion(task)
    batch = make_batch(task, PAIRS)

    def loss(update, batch=batch):
        model.set_num_updates(update)
        return criterion(model, batch)[0].item()

    assert loss(1) == loss(1) != loss(2)
    each = [loss(1, make_batch(task, [pair], ids=[row])) for row, pair in enumerate(PAIRS)]
    assert sum(each) == pytest.approx(loss(1), abs=1e-9)
    assert loss(1, make_batch(task, PAIRS, ids=[4, 5, 6, 7])) != loss(1)
    model.eval()
    assert loss(1) == loss(2)  # validation draws the same z every time


def test_hred_is_stock_cross_entropy():
    task = make_task()
    model, batch = make_model(task), make_batch(task, PAIRS)
    found = {}
    for criterion in (make_criterion(task), CrossEntropyCriterion(TaskView(task), False)):
        model.zero_grad()
        loss, size, _ = criterion(model, batch)
        loss.backward()
        found[type(criterion)] = loss.item(), size, [p.grad.clone() for p in model.parameters()]
    (one, size, gradients), (two, other, expected) = found.values()
    assert one == pytest.approx(two, abs=1e-5) and size == other
    for a, b in zip(gradients, expected):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


class TaskView:
    """What stock criterions ask of a task."""

    def __init__(self, task):
        self.target_dictionary = task.target_dictionary


def test_sentence_average():
    task = make_task()
    assert make_criterion(task, sentence_avg=True)(make_model(task), make_batch(task, PAIRS))[1] == 4


@pytest.mark.parametrize("detach", [False, True])
def test_released_weighting_of_dir_vhred(detach):
    """loss = R + KL / R; its gradient is (1 - KL / R^2) R' + KL' / R, detached R' + KL' / R."""
    task = make_task()
    model, batch = make_latent("dir_vhred", task), make_batch(task, PAIRS)
    criterion = make_criterion(task, kl_weight_mode="inverse-reconstruction", kl_weight_detach=detach)

    def gradient(pick):
        loss, _, log = criterion(model, batch)
        keys = criterion._keys(batch, 0)
        terms = criterion._terms(model, batch, keys)
        values = terms["reconstruction"].sum(), terms["kl_sentence"].sum(), loss
        weights = list(model.parameters())
        found = torch.autograd.grad(values[pick], weights, allow_unused=True)
        return torch.cat(
            [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(weights, found)]
        ), log

    (of_r, log), (of_kl, _), (of_loss, _) = (gradient(pick) for pick in range(3))
    r, kl = log["reconstruction"].item(), log["kl_sentence"].item()
    assert log["loss"].item() == pytest.approx(r + kl / r) and log["kl_weight"].item() == pytest.approx(4 / r)
    torch.testing.assert_close(of_loss, (1.0 if detach else 1 - kl / r**2) * of_r + of_kl / r)


@pytest.mark.parametrize("name", KINDS)
def test_importance_weighted_validation(name):
    """Between ELBO and exact likelihood; each row's own bound, whatever the batch."""
    task, model = make_world(name, told=8.0)
    batch, exact = repeated_batch(task, 300), exact_log_likelihood(model)
    log = make_criterion(task, iw_samples=30)(model.eval(), batch)[2]
    elbo = -log["loss"].item() / 300
    bound = -log["iw_nll"].item() / 300
    assert elbo + 0.01 < bound < exact + 0.02
    parts = [make_criterion(task, iw_samples=30)(model, make_batch(task, [([[0, 1], [1]], [0, 1])], ids=[i]))[2]
             for i in range(4)]  # fmt: skip
    whole = make_criterion(task, iw_samples=30)(model, repeated_batch(task, 4))[2]
    assert sum(part["iw_nll"].item() for part in parts) == pytest.approx(whole["iw_nll"].item(), abs=1e-9)
    assert "iw_nll" not in make_criterion(task)(model, batch)[2]


def test_one_importance_sample_is_the_elbo_with_a_sampled_divergence():
    task, model = make_world("vhred")
    found = [make_criterion(task, iw_samples=1)(model.eval(), repeated_batch(task, 4000))[2]]
    assert found[0]["iw_nll"].item() / 4000 == pytest.approx(found[0]["loss"].item() / 4000, abs=0.05)


def test_logs():
    """-ELBO per reply in nats, bits per token, the KL of a conversation per conversation, active units."""
    task = make_task()
    model, criterion = make_latent("vhcr", task), make_criterion(task)
    batches = [make_batch(task, PAIRS[:3], ids=[0, 1, 2]), make_batch(task, PAIRS[3:], ids=[3])]
    logs = [criterion(model.eval(), batch)[2] for batch in batches]
    found, whole = logged(*logs), criterion(model, make_batch(task, PAIRS))
    nats = whole[0].item()
    assert found["nll"] == pytest.approx(nats / 4, abs=1e-3)
    assert found["nll_loss"] == found["loss"] == pytest.approx(nats / 11 / math.log(2), abs=1e-3)
    assert found["ppl"] == pytest.approx(math.exp(nats / 11), rel=0.01)
    assert found["kl_conversation"] == pytest.approx(whole[2]["kl_conversation"].item() / 4, abs=1e-4)
    means = criterion._terms(model, make_batch(task, PAIRS), criterion._keys(make_batch(task, PAIRS), -1))["mean"]
    assert found["au"] == int((means.var(0) >= 0.01).sum())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kl_weight": -1.0}, "--kl-weight must not be negative"),
        ({"kl_anneal": "linear"}, "pass --kl-anneal-updates"),
        ({"kl_weight_mode": "inverse-reconstruction", "kl_weight": 0.5}, "leave --kl-anneal"),
        ({"kl_weight_detach": True}, "--kl-weight-mode inverse-reconstruction"),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(AMIError, match=message):
        make_criterion(make_task(), **settings)


def test_refused_models():
    task = make_task()
    batch = make_batch(task, PAIRS)
    with pytest.raises(AMIError, match="--arch hred, vhred"):
        make_criterion(task)(torch.nn.Linear(1, 1), batch)
    for model in (make_latent("vhred", task), make_model(task)):
        with pytest.raises(AMIError, match="--bow-hidden"):
            make_criterion(task, bow_weight=1.0)(model, batch)
