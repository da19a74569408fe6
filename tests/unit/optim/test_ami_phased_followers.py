"""Players of the text VAE: those that follow --lr and its scheduler, the critic's own settings, what is tracked."""

import pytest
import torch
from fairseq.optim.lr_scheduler.fixed_schedule import FixedLRSchedule, FixedLRScheduleConfig
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import (
    ReduceLROnPlateauLRSchedule,
    ReduceLROnPlateauLRScheduleConfig,
)
from unit.players import gradients, make_optimizer, make_weights, same

from fairseq_ami.errors import AMIError
from fairseq_ami.optim import LaggingSchedule, RunningStatistics

PLAYERS = ("encoder", "decoder", "critic")
SGD = {"inner_optimizer": "sgd", "inner_optimizer_args": "{}", "lr": [0.5]}


def vae_optimizer(weights=None, **settings):
    return make_optimizer(weights or make_weights(players=PLAYERS), **{**SGD, **settings})


def rates(optimizer):
    return {player: inner.param_groups[0]["lr"] for player, inner in optimizer.optimizers.items()}


def play(optimizer, weights, players, phase="joint", seed=0):
    gradients(weights, seed)
    optimizer.clip_grad_norm(0.0)
    optimizer.start_update(phase, players)
    optimizer.step(groups=set(players))
    optimizer.finish_update()


def plateau(optimizer, **settings):
    cfg = ReduceLROnPlateauLRScheduleConfig(lr=[0.5], lr_shrink=0.5, maximize_best_checkpoint_metric=False, **settings)
    return ReduceLROnPlateauLRSchedule(cfg, optimizer)


# ---------------------------------------------------------------------- learning rates


def test_followers_start_at_lr_and_take_what_is_set():
    weights = make_weights(players=PLAYERS)
    optimizer = vae_optimizer(weights)
    assert rates(optimizer) == dict.fromkeys(PLAYERS, 0.5)
    optimizer.set_lr(0.125)
    before = [w.detach().clone() for player in PLAYERS for w in weights[player]]
    play(optimizer, weights, PLAYERS)
    assert rates(optimizer) == dict.fromkeys(PLAYERS, 0.125) and optimizer.get_lr() == 0.125
    assert all(optimizer.stats[f"lr_{player}"] == 0.125 for player in PLAYERS)
    for old, new in zip(before, [w for player in PLAYERS for w in weights[player]]):
        torch.testing.assert_close(new.detach(), old - 0.125 * new.grad)


def test_followers_stand_still_at_lr_0_beside_a_rate_of_its_own():
    """Only the encoder is to be trained."""
    weights = make_weights(players=PLAYERS)
    optimizer = vae_optimizer(weights, lr=[0.0], encoder_lr=0.25)
    before = {player: [w.detach().clone() for w in weights[player]] for player in PLAYERS}
    play(optimizer, weights, PLAYERS)
    assert rates(optimizer) == {"encoder": 0.25, "decoder": 0.0, "critic": 0.0}
    for player, rate in rates(optimizer).items():
        for old, new in zip(before[player], weights[player]):
            torch.testing.assert_close(new.detach(), old - rate * new.grad)


def test_fixed_schedule_with_force_anneal():
    """--lr 0.5, halved every epoch from the second on."""
    optimizer = vae_optimizer()
    cfg = FixedLRScheduleConfig(lr=[0.5], force_anneal=2, lr_shrink=0.5, warmup_updates=0)
    schedule = FixedLRSchedule(cfg, optimizer)
    found = []
    for epoch in (1, 2, 3):
        schedule.step_begin_epoch(epoch)
        schedule.step_update(epoch * 10)
        found.append(rates(optimizer)["decoder"])
    assert found == [0.5, 0.25, 0.125] and len(set(rates(optimizer).values())) == 1


def test_plateau():
    """Every validation that is no better halves the rate of those who follow, and of nobody else."""
    optimizer = vae_optimizer(critic_lr=0.01)
    schedule = plateau(optimizer)
    optimizer.start_update("joint", PLAYERS)
    found = []
    for epoch, loss in enumerate((9.0, 8.0, 8.5, 7.0, 7.5), 1):
        schedule.step(epoch, loss)
        found.append(optimizer.get_lr())
    assert found == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert rates(optimizer) == {"encoder": 0.125, "decoder": 0.125, "critic": 0.01}
    optimizer.set_lr(0.3)
    assert rates(optimizer) == {"encoder": 0.3, "decoder": 0.3, "critic": 0.01}


def test_plateau_goes_on_after_a_checkpoint():
    """The rate comes back with the optimizers' states, the best value with the schedule's."""
    first, second = (make_weights(players=PLAYERS) for _ in range(2))
    one, two = vae_optimizer(first, critic_lr=0.01), vae_optimizer(second, critic_lr=0.01)
    before, after = plateau(one), plateau(two)
    for epoch, loss in enumerate((9.0, 8.0, 8.5), 1):
        before.step(epoch, loss)
    after.load_state_dict(before.state_dict())
    one.start_update("joint", PLAYERS)
    two.load_state_dict(one.state_dict())
    assert rates(two) == rates(one) == {"encoder": 0.25, "decoder": 0.25, "critic": 0.005}
    for schedule, optimizer in ((before, one), (after, two)):
        schedule.step(4, 8.2)
        assert optimizer.get_lr() == 0.125


def test_the_networks_of_the_minimax_follow_nobody():
    """Their rates are their own, whatever the outer schedule."""
    optimizer = make_optimizer(make_weights(), forward_lr=0.1, backward_lr=0.2, noise_lr=0.3)
    schedule = plateau(optimizer)
    for epoch in range(1, 4):
        schedule.step(epoch, 1.0)
    for player in ("forward", "backward", "noise"):
        optimizer.start_update(player, {player})
    assert rates(optimizer) == {"forward": 0.1, "backward": 0.2, "noise": 0.3} and not optimizer.followers


@pytest.mark.parametrize("order", [PLAYERS, PLAYERS[::-1]])
def test_the_rate_that_is_reported_follows_lr(order):
    """fairseq stops at --stop-min-lr by it: on all workers, whichever player was stepped last."""
    weights = make_weights(players=PLAYERS)
    optimizer = vae_optimizer(weights, critic_lr=0.01)
    play(optimizer, weights, list(order))
    assert optimizer.get_lr() == 0.5
    play(optimizer, weights, ["critic"], "outer")
    assert optimizer.get_lr() == 0.5


# ---------------------------------------------------------------------- settings of a player's own


@pytest.mark.parametrize("player", ["critic", "encoder"])
def test_player_with_an_optimizer_of_its_own(player):
    """The first step of Adam is its rate times the gradient's sign; the others' is SGD's."""
    weights = make_weights(players=PLAYERS)
    optimizer = vae_optimizer(weights, **{f"{player}_lr": 0.01, f"{player}_optimizer": "adam"})
    before = {name: weights[name][0].detach().clone() for name in PLAYERS}
    play(optimizer, weights, PLAYERS)
    for name in PLAYERS:
        weight = weights[name][0]
        step = 0.01 * weight.grad.sign() if name == player else 0.5 * weight.grad
        torch.testing.assert_close(weight.detach(), before[name] - step, atol=1e-5, rtol=0)
    with pytest.raises(AMIError, match=f"--{player}-optimizer: fairseq has no 'adamant'"):
        vae_optimizer(**{f"{player}_optimizer": "adamant"})


def test_rates_of_their_own_fall_with_lr():
    """A quarter of --lr means a quarter of theirs, also after a checkpoint and whoever plays; and back again."""
    weights, others = make_weights(players=PLAYERS), make_weights(players=PLAYERS)
    settings = {"critic_lr": 0.01, "encoder_lr": 0.02, "critic_optimizer": "adam"}
    optimizer, resumed = vae_optimizer(weights, **settings), vae_optimizer(others, **settings)
    play(optimizer, weights, PLAYERS)
    assert rates(optimizer) == {"encoder": 0.02, "decoder": 0.5, "critic": 0.01}
    optimizer.set_lr(0.125)
    for _ in range(2):
        play(optimizer, weights, PLAYERS)
        assert rates(optimizer) == pytest.approx({"encoder": 0.005, "decoder": 0.125, "critic": 0.0025})
    resumed.load_state_dict(optimizer.state_dict())
    play(resumed, others, ["critic"], "outer")
    assert rates(resumed) == pytest.approx({"encoder": 0.005, "decoder": 0.125, "critic": 0.0025})
    resumed.set_lr(0.5)
    play(resumed, others, ["encoder"], "inner")
    assert rates(resumed)["encoder"] == 0.02


def test_critic_with_a_warm_up_of_its_own():
    """It counts the critic's updates: none in an inner loop."""
    weights = make_weights(players=PLAYERS)
    optimizer = vae_optimizer(weights, critic_lr=0.4, inner_lr_scheduler_args='{"warmup_updates": 4}')
    found = []
    for phase, players in [
        ("joint", PLAYERS), ("inner", ["encoder"]), ("inner", ["encoder"]), ("outer", ["decoder", "critic"]),
        ("joint", PLAYERS), ("joint", PLAYERS), ("joint", PLAYERS),
    ]:  # fmt: skip
        play(optimizer, weights, players, phase)
        if "critic" in players:
            found.append(round(rates(optimizer)["critic"], 6))
    assert found == [0.1, 0.2, 0.3, 0.4, 0.4] and rates(optimizer)["encoder"] == 0.5
    assert {name: optimizer.counts[name] for name in (*PLAYERS, "joint", "inner", "outer")} == {
        "encoder": 6, "decoder": 5, "critic": 5, "joint": 4, "inner": 2, "outer": 1,
    }  # fmt: skip


def test_only_the_players_of_the_phase_move():
    weights = make_weights(players=PLAYERS)
    optimizer = vae_optimizer(weights, inner_optimizer="adam", inner_optimizer_args='{"weight_decay": 0.1}')
    play(optimizer, weights, PLAYERS)
    before = {player: [w.detach().clone() for w in weights[player]] for player in PLAYERS}
    play(optimizer, weights, ["encoder"], "inner", seed=1)
    assert {p for p in PLAYERS if not same(weights[p], before[p])} == {"encoder"}


# ---------------------------------------------------------------------- what is tracked


def tracked(optimizer):
    lagging = optimizer.track("lagging", LaggingSchedule(limit=3, window=2))
    lagging.add("inner", torch.tensor([6.0, 2.0]))
    optimizer.track("exp_scores", RunningStatistics(0.5)).add("inner", torch.tensor([2.0, 3.0, 0.0]))
    return optimizer


@pytest.mark.parametrize("first", ["load", "track"])
def test_trackers_are_restored_before_and_after_they_are_known(first):
    """fairseq loads the optimizer before the task has seen it; --reset-... and tests the other way round."""
    weights = make_weights(players=PLAYERS)
    one = tracked(vae_optimizer(weights))
    play(one, weights, ["encoder"], "inner")
    state = one.state_dict()
    two = vae_optimizer()
    if first == "load":
        two.load_state_dict(state)
        kept = two.state_dict()["ami"]["trackers"]  # saved again before the task asks: nothing is lost
        assert kept["lagging"] == state["ami"]["trackers"]["lagging"]
    lagging, averages = (
        two.track("lagging", LaggingSchedule(limit=3, window=2)), two.track("exp_scores", RunningStatistics(0.5)),
    )  # fmt: skip
    if first == "track":
        two.load_state_dict(state)
    assert (lagging.steps, lagging.window_loss, lagging.window_tokens) == (1, 6.0, 2.0)
    assert averages.mean == {"inner": 1.5}
    assert two.track("lagging", LaggingSchedule()) is lagging
    assert two.counts == one.counts
