"""The Lagrange multiplier of --mi-target, by hand."""

import pytest
import torch

from fairseq_ami.optim import Multiplier


def make(**settings):
    return Multiplier(**{"start": 1.0, "target": 3.0, "rate": 0.1, "limit": 2.0, **settings})


def update(multiplier, *batches):
    """Each batch: (total, sentences)."""
    for batch in batches:
        multiplier.add("joint", torch.tensor(batch, dtype=torch.float64))
    multiplier.hold()
    multiplier.commit("joint")
    return multiplier.value


def test_rises_below_the_target_and_falls_above_it():
    """1 + .1 (3 - 2.5) = 1.05; then 1.05 + .1 (3 - 4) = .95; at the target it stays."""
    multiplier = make()
    assert update(multiplier, (5.0, 2)) == pytest.approx(1.05)
    assert update(multiplier, (8.0, 2)) == pytest.approx(0.95)
    assert update(multiplier, (6.0, 2)) == pytest.approx(0.95)


def test_never_below_zero_and_never_above_the_limit():
    assert update(make(), (100.0, 2)) == 0.0
    assert update(make(), (-100.0, 2)) == 2.0


def test_micro_batches_are_one_batch():
    """3 sentences with 2 nats each and one with 6 are 4 with 3 on average: the target."""
    assert update(make(), (6.0, 3), (6.0, 1)) == 1.0


def test_nothing_measured_moves_nothing():
    multiplier = make()
    assert update(multiplier) == 1.0 == update(multiplier, (0.0, 0))
    multiplier.add("joint", torch.tensor([5.0, 2.0]))
    multiplier.hold()  # an update that half precision leaves out: held, and never committed
    multiplier.hold()
    multiplier.commit("joint")
    assert multiplier.value == 1.0


def test_by_validation():
    """The last validation's mean moves it at every update until the next one, which starts from nothing."""
    multiplier = make(by_validation=True)
    assert update(multiplier) == 1.0  # no validation yet
    multiplier.add_validation(4.0, 2)
    multiplier.add_validation(8.0, 4)
    assert [update(multiplier), update(multiplier)] == pytest.approx([1.1, 1.2])
    multiplier.start_validation()
    multiplier.add_validation(5.0, 1)
    assert update(multiplier) == pytest.approx(1.0)


def test_state():
    """Another run with the same settings goes on where this one is; its first value is not the start."""
    multiplier = make(by_validation=True)
    multiplier.add_validation(4.0, 2)
    update(multiplier)
    other = make(by_validation=True)
    other.load_state_dict(multiplier.state_dict())
    assert other.value == pytest.approx(1.1) and update(other) == update(multiplier) == pytest.approx(1.2)
    multiplier.start_validation()
    assert update(other) == pytest.approx(1.3)  # the state is a copy
