"""What a checkpoint of the phased optimizer gives back, and which settings it refuses."""

import pytest
import torch
from unit.players import PLAYERS, make_optimizer, make_weights, play, same

from fairseq_ami.errors import AMIError
from fairseq_ami.optim import AMIPhased, phased
from fairseq_ami.optim.ami_phased import AMIPhasedConfig
from fairseq_ami.schedules import PRETRAIN

# ------------------------------------------------------------------ checkpoints


def test_state_survives_a_checkpoint(tmp_path):
    """Written and read with weights_only; after it both go on bit for bit, with box, counts and baselines."""
    settings = {"weight_clip_mode": "relative", "inner_lr_scheduler_args": '{"warmup_updates": 9}'}
    first = make_weights()
    one = make_optimizer(first, **settings)
    play(one, first, [PRETRAIN])
    one.capture_anchor()
    for phase in ["noise", "forward", "backward"]:
        one.trackers["rewards"].add(phase, torch.tensor([2.0, -3.0, 5.0]).double())
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
    old, new = one.trackers["rewards"], two.trackers["rewards"]
    assert new.state_dict() == old.state_dict() and old.mean["forward"] == -1.5
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
        ({"inner_optimizer": "adamant"}, "--inner-optimizer: fairseq has no 'adamant' that fits here; choose one of"),
        ({"inner_optimizer_args": "{lr: 1}"}, "--inner-optimizer-args is not JSON"),
        ({"inner_optimizer_args": '{"beta": 1}'}, "has no setting 'beta'"),
        ({"inner_lr_scheduler": "none"}, "--inner-lr-scheduler: fairseq has no 'none'"),
        ({"inner_lr_scheduler_args": "x"}, "--inner-lr-scheduler-args is not JSON"),
        ({"inner_lr_scheduler": "reduce_lr_on_plateau"}, "no 'reduce_lr_on_plateau' that fits here"),
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


def test_sgd_of_the_older_kind_is_the_paper_s_lstm_optimizer():
    """One step of SGD moves the player by -lr * gradient (appendix B.1 trains LSTMs with SGD from 1.0)."""
    weights = make_weights()
    optimizer = make_optimizer(
        weights, inner_optimizer="sgd", inner_optimizer_args="{}", forward_lr=1.0, forward_clip_norm=0.0
    )
    weight = weights["forward"][0]
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, 0.25)
    optimizer.start_update("forward", {"forward"})
    optimizer.step(groups={"forward"})
    torch.testing.assert_close(weight.detach(), before - 0.25)
