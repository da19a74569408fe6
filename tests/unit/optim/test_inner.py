"""fairseq's optimizers and schedulers inside the players: each builds and steps, or is refused with a clear line."""

import json
import math

import pytest
import torch
from fairseq.optim import OPTIMIZER_REGISTRY
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, LR_SCHEDULER_REGISTRY
from fairseq.optim.sgd import SGD
from unit.players import PLAYERS, gradients, make_optimizer, make_weights, play

from fairseq_ami.errors import AMIError

LR = 0.1
UPDATES = 10

# ------------------------------------------------------------------ schedulers: settings, rate of update n by hand


def warm(n, updates, start, after):
    return start + (LR - start) * n / updates if n < updates else after(n - updates)


def cosine(n):
    shrink, place = 0.5 ** (n // 4), n % 4
    return shrink * (0.02 + 0.5 * (LR - 0.02) * (1 + math.cos(math.pi * place / 4)))


def tri_stage(n):
    if n < 4:
        return 0.01 + 0.09 * n / 2 if n < 2 else LR
    return LR * 0.1 ** ((n - 4) / 4) if n <= 8 else 0.01


def triangular(n):
    top = 0.3 * 0.5 ** (n // 4)
    return LR + (top - LR) * (1 - abs(n % 4 - 2) / 2)


def polynomial(n):
    if n <= 2:
        return LR * n / 2
    return 0.01 + 0.09 * (1 - (n - 2) / 6) ** 2 if n < 8 else 0.01


RATES = {
    "fixed": ({"warmup_updates": 4}, lambda n: LR * min((n + 1) / 4, 1)),
    "inverse_sqrt": (
        {"warmup_updates": 4, "warmup_init_lr": 0.02},
        lambda n: warm(n, 4, 0.02, lambda m: LR * math.sqrt(4 / (m + 4))),
    ),
    "polynomial_decay": (
        {"total_num_update": 8, "power": 2.0, "end_learning_rate": 0.01, "warmup_updates": 2}, polynomial,
    ),
    "cosine": (
        {"lr_period_updates": 4, "min_lr": 0.02, "warmup_updates": 2, "lr_shrink": 0.5},
        lambda n: warm(n, 2, 0.02, cosine),
    ),
    "tri_stage": (
        {"warmup_steps": 2, "hold_steps": 2, "decay_steps": 4, "init_lr_scale": 0.1, "final_lr_scale": 0.1}, tri_stage,
    ),
    "triangular": ({"max_lr": 0.3, "lr_period_updates": 4, "lr_shrink": 0.5}, triangular),
    "step": (
        {"lr_deacy_period": 3, "lr_decay": 0.5, "min_lr": 0.02, "warmup_updates": 2, "warmup_init_lr": 0.05},
        lambda n: warm(n, 2, 0.05, lambda m: max(LR * 0.5 ** (m // 3), 0.02)),
    ),
}  # fmt: skip
UNFIT_SCHEDULERS = {"manual", "pass_through", "reduce_lr_on_plateau"}


def stock_rates(name, settings):
    """fairseq's own scheduler over a bare SGD, driven as fairseq's trainer drives it, in one epoch."""
    args = type("Args", (), {"lr": [LR], "momentum": 0.0, "weight_decay": 0.0})()
    optimizer = SGD(args, [torch.nn.Parameter(torch.zeros(1))])
    cfg = LR_SCHEDULER_DATACLASS_REGISTRY[name](lr=[LR], **settings)
    schedule = LR_SCHEDULER_REGISTRY[name](cfg, optimizer)
    schedule.step_begin_epoch(1)
    found = []
    for update in range(UPDATES):
        schedule.step_update(update)
        found.append(optimizer.get_lr())
    return found


def test_the_tables_know_every_name():
    assert set(RATES) | UNFIT_SCHEDULERS == set(LR_SCHEDULER_REGISTRY)
    assert set(REFERENCES) | {"adafactor", "lamb"} | UNFIT_OPTIMIZERS == set(OPTIMIZER_REGISTRY)


@pytest.mark.parametrize("name", RATES)
def test_rates_of_a_scheduler(name):
    """Of the player's own updates: the closed form, and fairseq's scheduler driven with the same numbers."""
    settings, closed_form = RATES[name]
    weights = make_weights()
    given = {f"{player}_lr": LR for player in PLAYERS}
    given.update(inner_lr_scheduler=name, inner_lr_scheduler_args=json.dumps(settings))
    optimizer = make_optimizer(weights, **given)
    found = []
    for update in range(UPDATES):
        play(optimizer, weights, ["forward", "noise"], 2 * update)
        found.append(optimizer.stats["lr_forward"])
    assert found == pytest.approx([closed_form(update) for update in range(UPDATES)], abs=1e-12)
    assert found == pytest.approx(stock_rates(name, settings), abs=1e-12)
    # a resumed run goes on at the same place, and a player that has not moved yet starts at the beginning
    resumed = make_optimizer(weights, **given)
    resumed.load_state_dict(optimizer.state_dict())
    play(resumed, weights, ["forward", "backward"], 99)
    assert resumed.stats["lr_forward"] == pytest.approx(closed_form(UPDATES), abs=1e-12)
    assert resumed.stats["lr_backward"] == pytest.approx(closed_form(0), abs=1e-12)


# ------------------------------------------------------------------ optimizers: settings, the same in torch

REFERENCES = {
    "adam": (
        {"adam_betas": "(0.8, 0.9)", "weight_decay": 0.1},
        lambda params: torch.optim.AdamW(params, LR, betas=(0.8, 0.9), weight_decay=0.1),
    ),
    "adamax": ({"adamax_betas": "(0.8, 0.9)"}, lambda params: torch.optim.Adamax(params, LR, betas=(0.8, 0.9))),
    "adadelta": ({"adadelta_rho": 0.8}, lambda params: torch.optim.Adadelta(params, LR, rho=0.8)),
    "adagrad": ({"weight_decay": 0.1}, lambda params: torch.optim.Adagrad(params, LR, weight_decay=0.1)),
    "nag": ({"momentum": 0.7}, lambda params: torch.optim.SGD(params, LR, momentum=0.7, nesterov=True)),
    "sgd": (
        {"momentum": 0.7, "weight_decay": 0.1},
        lambda params: torch.optim.SGD(params, LR, momentum=0.7, weight_decay=0.1),
    ),
}
UNFIT_OPTIMIZERS = {"ami_phased", "composite", "cpu_adam"}


def settings_of(name, args):
    return {"forward_lr": LR, "inner_optimizer": name, "inner_optimizer_args": json.dumps(args)}


@pytest.mark.parametrize("name", REFERENCES)
def test_steps_of_an_optimizer(name):
    """Three updates of one player move it as torch's optimizer would."""
    args, reference = REFERENCES[name]
    weights, alone = make_weights(), make_weights()
    play(make_optimizer(weights, **settings_of(name, args)), weights, ["forward", "noise", "forward", "forward"])
    other = reference(alone["forward"])
    for update in (0, 2, 3):
        gradients(alone, update)
        other.step()
    for found, wanted in zip(weights["forward"], alone["forward"]):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_first_step_of_adafactor():
    """Without factors its first step is the rate times the sign of the gradient."""
    weights, start = make_weights(), make_weights()
    play(make_optimizer(weights, **settings_of("adafactor", {})), weights, ["forward"])
    for found, before in zip(weights["forward"], start["forward"]):
        torch.testing.assert_close(found.detach(), before.detach() - LR * found.grad.sign(), atol=1e-5, rtol=0)


# ------------------------------------------------------------------ what is refused

SCHEDULER, SCHEDULER_ARGS = "inner_lr_scheduler", "inner_lr_scheduler_args"
OPTIMIZER, OPTIMIZER_ARGS = "inner_optimizer", "inner_optimizer_args"
REFUSED = {
    "validation loss": ({SCHEDULER: "reduce_lr_on_plateau"}, "players never see a validation loss"),
    "manual": ({SCHEDULER: "manual"}, "--inner-lr-scheduler: fairseq has no 'manual' that fits here"),
    "pass through": ({SCHEDULER: "pass_through"}, "choose one of cosine, fixed,"),
    "composite": ({OPTIMIZER: "composite"}, "--inner-optimizer: fairseq has no 'composite' that fits here"),
    "itself": ({OPTIMIZER: "ami_phased"}, "it holds the players"),
    "DeepSpeed": ({OPTIMIZER: "cpu_adam"}, "it needs DeepSpeed"),
    "no total": ({SCHEDULER: "polynomial_decay"}, "needs total_num_update, in updates of the player"),
    "total of 0": ({SCHEDULER: "polynomial_decay", SCHEDULER_ARGS: '{"total_num_update": 0}'}, "It needs total_num"),
    "no peak": ({SCHEDULER: "triangular"}, "triangular needs max_lr, above the player's learning rate"),
    "low peak": ({SCHEDULER: "triangular", SCHEDULER_ARGS: '{"max_lr": 0.01}'}, "max_lr must be more than lr"),
    "no period": ({SCHEDULER: "cosine"}, "It needs lr_period_updates"),
    "no stages": ({SCHEDULER: "tri_stage"}, "It needs decay_steps"),
    "no warm-up": ({SCHEDULER: "inverse_sqrt", SCHEDULER_ARGS: '{"warmup_updates": 0}'}, "warmup_updates of 1 or more"),
    "rate below the least": ({SCHEDULER: "step", SCHEDULER_ARGS: '{"min_lr": 0.2}'}, "rate of the player above min_lr"),
    "epochs": ({SCHEDULER_ARGS: '{"force_anneal": 2}'}, "force_anneal of fixed acts between epochs"),
    "shrinking by epochs": ({SCHEDULER_ARGS: '{"lr_shrink": 0.5}'}, "lr_shrink of fixed acts between epochs"),
    "epochs of the polynomial": (
        {SCHEDULER: "polynomial_decay", SCHEDULER_ARGS: '{"total_num_update": 9, "force_anneal": 2}'},
        "force_anneal of polynomial_decay acts between epochs",
    ),
    "rate": ({SCHEDULER_ARGS: '{"lr": [0.5]}'}, "the learning rates are --forward-lr"),
    "rate of the optimizer": ({OPTIMIZER_ARGS: '{"lr": [0.5]}'}, "the learning rates are --forward-lr"),
    "name": ({SCHEDULER_ARGS: '{"_name": "step"}'}, "has no setting '_name' here"),
    "words": ({OPTIMIZER: "sgd", OPTIMIZER_ARGS: '{"momentum": "much"}'}, "--inner-optimizer sgd: fairseq refuses"),
    "betas": ({OPTIMIZER_ARGS: '{"adam_betas": "(0.8"}'}, "--inner-optimizer adam: fairseq refuses these settings"),
    "steps of its own": ({OPTIMIZER: "adafactor", OPTIMIZER_ARGS: '{"relative_step": true}'}, "fairseq refuses"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    settings, message = REFUSED[case]
    settings = {OPTIMIZER_ARGS: "{}", **settings}
    with pytest.raises(AMIError) as error:
        make_optimizer(make_weights(), forward_lr=LR, **settings)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_lamb_says_what_is_missing():
    """It needs NVIDIA's apex; where that is installed it is built."""
    if torch.cuda.is_available():
        pytest.skip("apex may be there")
    with pytest.raises(AMIError, match="--inner-optimizer lamb: .*apex"):
        make_optimizer(make_weights(), inner_optimizer="lamb", inner_optimizer_args="{}")


def test_a_scheduler_is_for_the_players_with_a_rate_of_their_own():
    """The others follow --lr: a peak that is below it is none of their business."""
    weights = make_weights(players=("decoder", "critic"))
    settings = {"critic_lr": 0.01, SCHEDULER: "triangular", SCHEDULER_ARGS: '{"max_lr": 0.05}', "lr": [0.5]}
    optimizer = make_optimizer(weights, **settings)
    gradients(weights, 0)
    optimizer.start_update("joint", {"decoder", "critic"})
    assert (optimizer.stats["lr_decoder"], optimizer.stats["lr_critic"]) == (0.5, 0.01)
