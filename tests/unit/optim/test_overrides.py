"""--optimizer-overrides at a resume, beside fairseq's own optimizers."""

import pytest
from unit.players import PLAYERS, make_optimizer, make_weights, play

from fairseq_ami.errors import AMIError


def resumed(overrides):
    optimizer, weights = make_optimizer(make_weights()), make_weights()
    trained = make_optimizer(weights)
    play(trained, weights, [*PLAYERS])
    optimizer.load_state_dict(trained.state_dict(), overrides)
    return {player: inner.param_groups[0] for player, inner in optimizer.optimizers.items()}


def test_all_players():
    """As a stock optimizer takes them; fairseq's composite one ignores them."""
    before = resumed({})
    groups = resumed({"weight_decay": 0.7, "betas": (0.5, 0.6)})
    assert set(groups) == set(PLAYERS)
    for player, group in groups.items():
        assert group["weight_decay"] == 0.7 != before[player]["weight_decay"]
        assert group["betas"] == (0.5, 0.6) and group["eps"] == before[player]["eps"]


def test_some_players():
    """A dictionary for each."""
    before, groups = resumed(None), resumed({"noise": {"weight_decay": 0.7}})
    assert groups["noise"]["weight_decay"] == 0.7
    assert groups["forward"]["weight_decay"] == before["forward"]["weight_decay"] != 0.7


@pytest.mark.parametrize(
    "overrides, message",
    [({"lr": 0.1}, "--forward-lr"), ({"noise": {"lr": [1.0]}}, "--forward-lr"), ({"beta": 1}, "no setting 'beta'")],
)
def test_refused(overrides, message):
    with pytest.raises(AMIError, match=message):
        resumed(overrides)
