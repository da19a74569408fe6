"""One optimizer a player: who moves, by how much, and what a checkpoint gives back."""

import json
import math

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import OmegaConf

import fairseq_ami  # noqa: F401
from fairseq_ami.errors import AMIError
from fairseq_ami.optim import AMIPhased, phased
from fairseq_ami.optim.ami_phased import AMIPhasedConfig
from fairseq_ami.schedules import PRETRAIN

PLAYERS = ("forward", "backward", "noise")
DECAY = '{"weight_decay": 0.1, "adam_betas": "(0.8, 0.9)"}'


def make_weights(seed=0, players=PLAYERS):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for player in players:
        weights[player] = [torch.nn.Parameter(torch.randn(n, generator=generator)) for n in (3, 5)]
        for weight in weights[player]:
            weight.param_group = player
    return weights


def make_optimizer(weights, **settings):
    given = {f"{player}_clip_norm": 0.0 for player in PLAYERS}
    given.update(inner_optimizer_args=DECAY, weight_clip_mode="none", fp16=False, bf16=False)
    given.update(settings)
    params = [w for group in weights.values() for w in group]
    return AMIPhased(AMIPhasedConfig(**given), params)


def gradients(weights, seed):
    """Every player gets a gradient, as in half precision and under legacy_ddp."""
    generator = torch.Generator().manual_seed(seed)
    for group in weights.values():
        for weight in group:
            weight.grad = torch.randn(weight.shape, generator=generator)


def play(optimizer, weights, phases, first=0):
    for number, phase in enumerate(phases, first):
        gradients(weights, number)
        players = {"forward", "backward"} if phase == PRETRAIN else {phase}
        optimizer.clip_grad_norm(0.0)
        optimizer.start_update(phase, players)
        optimizer.step(groups=players)
        optimizer.finish_update()


def copies(weights):
    return {player: [w.detach().clone() for w in group] for player, group in weights.items()}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))


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
        cfg = OmegaConf.structured(FairseqAdamConfig(adam_betas="(0.8, 0.9)", weight_decay=0.1, tpu=False, lr=[rates[player]]))
        adam = FairseqAdam(cfg, alone[player])
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
    assert optimizer.stats["gnorm_forward"] == pytest.approx(5.0)


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
    for number, phase in enumerate(["forward", "backward", "backward", "forward", "forward", "noise", "forward", "forward"]):
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


# ------------------------------------------------------------------ checkpoints


def test_state_survives_a_checkpoint(tmp_path):
    """Written and read with weights_only; after it both go on bit for bit, with box, counts and baselines."""
    settings = {"weight_clip_mode": "relative", "inner_lr_scheduler_args": '{"warmup_updates": 9}'}
    first = make_weights()
    one = make_optimizer(first, **settings)
    play(one, first, [PRETRAIN])
    one.capture_anchor()
    for phase in ["noise", "forward", "backward"]:
        one.rewards.add(phase, torch.tensor([2.0, -3.0, 5.0]).double())
        play(one, first, [phase], first=3)
    torch.save(one.state_dict(), tmp_path / "state.pt")

    second = make_weights(1)
    with torch.no_grad():
        for player in PLAYERS:
            for new, old in zip(second[player], first[player]):
                new.copy_(old)
    two = make_optimizer(second, **settings)
    two.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert two.counts == one.counts == {PRETRAIN: 1, "forward": 1, "backward": 1, "noise": 1}
    assert two.rewards.state_dict() == one.rewards.state_dict() and one.rewards.mean["forward"] == -1.5
    assert same(two.anchor, one.anchor)
    for optimizer, weights in ((one, first), (two, second)):
        play(optimizer, weights, ["noise", "forward", "backward", "forward"], first=7)
    for player in PLAYERS:
        assert same(first[player], second[player])
    assert one.stats == two.stats


def test_the_saved_centre_is_a_copy(tmp_path):
    """Loading must not tie the box to the tensors of the checkpoint."""
    weights = make_weights()
    optimizer = make_optimizer(weights)
    optimizer.capture_anchor()
    state = optimizer.state_dict()
    other = make_optimizer(make_weights(1))
    other.load_state_dict(state)
    state["ami"]["anchor"][0].zero_()
    assert other.anchor[0].abs().sum() > 0


def test_master_weights_travel_in_half_precision():
    """fairseq forgets the float32 weights; they are in the state and come back."""
    first, second = make_weights(), make_weights(1)
    state = make_optimizer(first, fp16=True).state_dict()
    make_optimizer(second, fp16=True).load_state_dict(state)
    assert all(same(first[player], second[player]) for player in PLAYERS)
    assert make_optimizer(first).state_dict()["ami"]["masters"] is None


def test_state_of_other_players_is_refused():
    """A run with noise cannot resume one without, nor a plain Adam's."""
    without = make_optimizer(make_weights(players=("forward", "backward")))
    optimizer = make_optimizer(make_weights())
    for state in (without.state_dict(), {"state": {}, "param_groups": []}):
        with pytest.raises(AMIError, match="--reset-optimizer"):
            optimizer.load_state_dict(state)


# ------------------------------------------------------------------ bad settings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"inner_optimizer": "adamant"}, "--inner-optimizer: fairseq has no 'adamant'; choose one of"),
        ({"inner_optimizer_args": "{lr: 1}"}, "--inner-optimizer-args is not JSON"),
        ({"inner_optimizer_args": '{"beta": 1}'}, "has no setting 'beta'"),
        ({"inner_lr_scheduler": "none"}, "--inner-lr-scheduler: fairseq has no 'none'"),
        ({"inner_lr_scheduler_args": "x"}, "--inner-lr-scheduler-args is not JSON"),
        ({"inner_lr_scheduler": "reduce_lr_on_plateau"}, "never sees the validation loss"),
        ({"inner_optimizer_args": "[1]"}, "--inner-optimizer-args"),
        ({"inner_lr_scheduler_args": "3"}, "--inner-lr-scheduler-args"),
        ({"inner_lr_scheduler_args": '{"warmup_updates": "many"}'}, "warmup_updates cannot be 'many'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    """An AMIError with the flag and the choices."""
    with pytest.raises(AMIError) as error:
        make_optimizer(make_weights(), **settings)
    assert message in str(error.value)


def test_parameters_without_a_player_are_refused():
    """The flattened half-precision mode loses the players: the message says which flag is missing."""
    with pytest.raises(AMIError, match="--fp16-no-flatten-grads"):
        AMIPhased(AMIPhasedConfig(fp16=True, bf16=False), [torch.nn.Parameter(torch.zeros(3))])


def test_phased_finds_the_optimizer_or_says_what_to_pass():
    """Inside fairseq's half-precision wrapper as well."""
    optimizer = make_optimizer(make_weights())
    wrapper = type("Wrapper", (), {"fp32_optimizer": optimizer})()
    assert phased(wrapper) is phased(optimizer) is optimizer
    with pytest.raises(AMIError, match="--optimizer ami_phased"):
        phased(object())
