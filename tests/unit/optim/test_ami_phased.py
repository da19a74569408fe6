"""One optimizer a player: who moves, by how much, and at which rate."""

import json
import math

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import OmegaConf
from unit.players import PLAYERS, copies, gradients, make_optimizer, make_weights, play, same

from fairseq_ami.errors import AMIError
from fairseq_ami.schedules import PRETRAIN

# ------------------------------------------------------------------ who moves


@pytest.mark.parametrize("active", PLAYERS)
def test_players_that_wait_stay_bit_identical(active):
    """In spite of gradients, weight decay and the momentum of earlier updates."""
    weights = make_weights()
    optimizer = make_optimizer(weights)
    play(optimizer, weights, [*PLAYERS, *PLAYERS])
    before = copies(weights)
    states = {p: json.dumps(str(optimizer.optimizers[p].state_dict())) for p in PLAYERS}
    play(optimizer, weights, [active] * 3, first=10)
    for player in PLAYERS:
        assert same(weights[player], before[player]) == (player != active)
        assert (json.dumps(str(optimizer.optimizers[player].state_dict())) == states[player]) == (player != active)


def test_pretraining_moves_both_networks_and_not_the_noise():
    """A set of two players."""
    weights = make_weights()
    before = copies(weights)
    play(make_optimizer(weights), weights, [PRETRAIN])
    moved = {player for player in PLAYERS if not same(weights[player], before[player])}
    assert moved == {"forward", "backward"}


def test_each_player_moves_as_under_a_plain_adam():
    """fairseq's Adam on the player's weights alone, given only the gradients of its own phases: bit for bit."""
    phases = ["noise", "forward", "forward", "backward", "noise", "forward", "backward", "backward"]
    weights, rates = make_weights(), {"forward": 0.1, "backward": 0.02, "noise": 0.3}
    play(make_optimizer(weights, **{f"{p}_lr": lr for p, lr in rates.items()}), weights, phases)
    for player in PLAYERS:
        alone = make_weights()
        cfg = FairseqAdamConfig(adam_betas="(0.8, 0.9)", weight_decay=0.1, tpu=False, lr=[rates[player]])
        adam = FairseqAdam(OmegaConf.structured(cfg), alone[player])
        for number, phase in enumerate(phases):
            if phase == player:
                gradients(alone, number)
                adam.step()
        assert same(weights[player], alone[player])


def test_first_step_of_adam_by_hand():
    """Bias-corrected, the first step is the learning rate times the gradient's sign, after the weight decay."""
    weights = make_weights()
    before = copies(weights)
    play(make_optimizer(weights, forward_lr=0.1), weights, ["forward"])
    gradients(weights, 0)
    for weight, old in zip(weights["forward"], before["forward"]):
        want = old - 0.1 * 0.1 * old - 0.1 * weight.grad.sign()
        assert torch.allclose(weight, want, atol=1e-5)


def test_instances_share_nothing():
    """The parent keeps its optimizers on the class."""
    first, second = make_weights(), make_weights(1, ("forward", "backward"))
    one = make_optimizer(first)
    two = make_optimizer(second)
    assert set(one.optimizers) == set(PLAYERS) and set(two.optimizers) == {"forward", "backward"}
    before = copies(first)
    play(two, second, ["forward", "backward"])
    assert all(same(first[player], before[player]) for player in PLAYERS)
    assert one.counts["forward"] == 0 and two.counts["forward"] == 1


@pytest.mark.parametrize("groups", [None, set(), "forward"])
def test_a_step_without_a_set_of_players_is_refused(groups):
    """The parent would move everybody, or match a string by substring."""
    weights = make_weights()
    optimizer = make_optimizer(weights)
    gradients(weights, 0)
    with pytest.raises(AMIError, match="ami_"):
        optimizer.step(groups=groups)


# ------------------------------------------------------------------ gradient norms and the box


def test_clip_norm_is_each_players_own():
    """A gradient of norm 5 of the active player is halved to 2.5; the others' gradients do not count."""
    weights = make_weights()
    optimizer = make_optimizer(
        weights, inner_optimizer="nag", inner_optimizer_args='{"momentum": 0.0}', forward_lr=1.0, forward_clip_norm=2.5
    )
    before = copies(weights)
    for player in PLAYERS:
        for weight in weights[player]:
            weight.grad = torch.full_like(weight, 1000.0)
    weights["forward"][0].grad = torch.tensor([3.0, 0.0, 0.0])
    weights["forward"][1].grad = torch.tensor([0.0, 4.0, 0.0, 0.0, 0.0])
    optimizer.start_update("forward", {"forward"})
    optimizer.step(groups={"forward"})
    moved = [old - new.detach() for old, new in zip(before["forward"], weights["forward"])]
    assert moved[0].tolist() == pytest.approx([1.5, 0.0, 0.0], abs=1e-5)
    assert moved[1].tolist() == pytest.approx([0.0, 2.0, 0.0, 0.0, 0.0], abs=1e-5)
    assert optimizer.stats["gnorm_forward"] == pytest.approx(5.0) and "gnorm_noise" not in optimizer.stats
    assert (weights["noise"][0].grad == 1000.0).all()


@pytest.mark.parametrize("mode", ["absolute", "relative", "none"])
def test_box_after_each_backward_update(mode):
    """Around 0, around the weights at the start of the minimax, or nowhere; the others are never clipped."""
    weights = make_weights()
    optimizer = make_optimizer(weights, weight_clip_mode=mode, weight_clip=0.05, backward_lr=0.1, forward_lr=0.1)
    play(optimizer, weights, [PRETRAIN])
    optimizer.capture_anchor()
    start = copies(weights)
    play(optimizer, weights, ["forward", "backward", "noise", "backward"], first=1)
    optimizer.capture_anchor()  # a second call keeps the first centre
    assert same(optimizer.anchor, start["backward"])
    middle = [torch.zeros_like(w) for w in weights["backward"]] if mode == "absolute" else start["backward"]
    distance = max((w.detach() - m).abs().max().item() for w, m in zip(weights["backward"], middle))
    assert distance > 0.06 if mode == "none" else distance <= 0.05 + 1e-6
    assert max((w.detach() - m).abs().max().item() for w, m in zip(weights["forward"], start["forward"])) > 0.06


def test_pretraining_is_not_boxed():
    """The box belongs to the minimax."""
    weights = make_weights()
    play(make_optimizer(weights, weight_clip_mode="absolute", weight_clip=0.001), weights, [PRETRAIN])
    assert weights["backward"][0].abs().max() > 0.1


# ------------------------------------------------------------------ learning rates


def test_outer_scheduler_cannot_set_the_rates():
    """fairseq's default scheduler would set everybody to --lr 0.25."""
    optimizer = make_optimizer(make_weights(), forward_lr=0.1, noise_lr=0.3)
    optimizer.set_lr(0.25)
    rates = {p: optimizer.optimizers[p].param_groups[0]["lr"] for p in ("forward", "noise")}
    assert rates["noise"] != 0.25 and rates["forward"] != 0.25 and optimizer.lr_scheduler is None
    optimizer.start_update("noise", {"noise"})
    assert optimizer.get_lr() == 0.3 == optimizer.stats["lr_noise"]


def test_inner_schedulers_count_the_players_own_updates():
    """Linear warm-up over four of its own updates, whatever the others do in between."""
    weights = make_weights()
    optimizer = make_optimizer(
        weights, forward_lr=0.4, backward_lr=0.8, inner_lr_scheduler_args='{"warmup_updates": 4}'
    )
    rates = []
    phases = ["forward", "backward", "backward", "forward", "forward", "noise", "forward", "forward"]
    for number, phase in enumerate(phases):
        play(optimizer, weights, [phase], number)
        rates.append((phase, round(optimizer.get_lr(), 6)))
    assert [lr for phase, lr in rates if phase == "forward"] == [0.1, 0.2, 0.3, 0.4, 0.4]
    assert [lr for phase, lr in rates if phase == "backward"] == [0.2, 0.4]


def test_pretraining_has_its_own_warm_up_and_decay():
    """Linear to the peak in two updates, then with the inverse square root; the players' own rates after it."""
    weights = make_weights()
    optimizer = make_optimizer(weights, pretrain_lr=0.1, pretrain_warmup_updates=2, forward_lr=0.03)
    rates = []
    for number in range(4):
        play(optimizer, weights, [PRETRAIN], number)
        rates.append(optimizer.stats["lr_forward"])
    assert rates == pytest.approx([0.05, 0.1, 0.1 * math.sqrt(2 / 3), 0.1 * math.sqrt(2 / 4)])
    play(optimizer, weights, ["forward"], 4)
    assert optimizer.get_lr() == pytest.approx(0.03)
