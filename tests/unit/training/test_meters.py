"""fairseq's meters after a reset, in the way of its training loop."""

from typing import Dict

import pytest
from fairseq.logging import metrics

from fairseq_ami.training.meters import drop_silent_meters


def log_line(values: Dict[str, float]) -> Dict[str, float]:
    """One interval of the log: what fairseq would print after an update that logs *values*."""
    with metrics.aggregate("train_inner"):
        drop_silent_meters()
        for name, value in values.items():
            metrics.log_scalar(name, value, round=3)
        if "nll" in values:
            metrics.log_derived("twice", lambda meters: 2 * meters["nll"].avg)
        shown = dict(metrics.get_smoothed_values("train_inner"))
    metrics.reset_meters("train_inner")
    return shown


@pytest.fixture(autouse=True)
def empty_meters():
    metrics.reset()
    yield
    metrics.reset()


def test_a_line_holds_what_its_interval_logged():
    assert log_line({"loss": 3.0, "reward_forward": 1.0}) == {"loss": 3.0, "reward_forward": 1.0}
    assert log_line({"loss": 2.0, "nll": 4.0}) == {"loss": 2.0, "nll": 4.0, "twice": 8.0}
    assert log_line({"loss": 1.0, "reward_forward": 5.0}) == {"loss": 1.0, "reward_forward": 5.0}


def test_an_interval_of_several_updates_keeps_all_of_them():
    with metrics.aggregate("train_inner") as meters:
        for name, value in (("reward_forward", 1.0), ("nll", 2.0), ("reward_forward", 3.0)):
            drop_silent_meters()
            metrics.log_scalar(name, value)
        assert dict(meters.get_smoothed_values()) == {"reward_forward": 2.0, "nll": 2.0}
        assert [key for _, _, key in meters.priorities] == ["reward_forward", "nll"]


def test_what_is_saved_can_be_read_again():
    log_line({"loss": 3.0, "reward_forward": 1.0})
    log_line({"loss": 3.0})
    state = metrics.state_dict()
    metrics.load_state_dict(state)
    assert metrics.state_dict() == state and "reward_forward" not in str(state["train_inner"])
