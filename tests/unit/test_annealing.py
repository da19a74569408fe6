"""Weights of the KL term against tables written out by hand."""

import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.schedules import Annealing


def weights(updates, **settings):
    return [round(Annealing(**settings).weight(update), 9) for update in updates]


def test_constant():
    """Whatever the length says."""
    assert weights((0, 5, 10**6), kind="constant", start=0.3, end=0.7, length=9) == [0.7, 0.7, 0.7]


def test_linear():
    """VAE-0.5: from 0.1 to 1; the first update has the first weight, update *length* the last."""
    assert weights((0, 1, 5, 9, 10, 11), kind="linear", start=0.1, end=1.0, length=10) == [
        0.1, 0.19, 0.55, 0.91, 1.0, 1.0,
    ]  # fmt: skip
    assert weights((0, 2, 4), kind="linear", start=1.0, end=0.5, length=4) == [1.0, 0.75, 0.5]


def test_cyclic():
    """Two cycles of eight updates: four of rise, four at the top; the top for ever after."""
    rise = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    found = weights(range(18), kind="cyclic", end=1.0, length=16, cycles=2, ratio=0.5)
    assert found == [*rise, *rise, 1.0, 1.0]


def test_cyclic_between_other_weights():
    found = weights(range(5), kind="cyclic", start=0.2, end=0.6, length=4, cycles=1, ratio=1.0)
    assert found == [0.2, 0.3, 0.4, 0.5, 0.6]


@pytest.mark.parametrize("length, cycles", [(10, 6), (100, 6), (30, 9), (1000, 15), (7, 7)])
def test_cycles_that_are_no_whole_number_of_updates(length, cycles):
    """Every update that is exactly the start of a cycle has the first weight: rounding must not delay it."""
    starts = [k * length // cycles for k in range(cycles) if k * length % cycles == 0]
    assert starts[0] == 0 and len(starts) > 1
    assert set(weights(starts, kind="cyclic", length=length, cycles=cycles)) == {0.0}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"kind": "cosine"}, "unknown schedule 'cosine'"),
        ({"kind": "linear"}, "--kl-anneal-epochs"),
        ({"kind": "cyclic", "length": 0}, "--kl-anneal-updates"),
        ({"kind": "cyclic", "length": 8, "cycles": 0}, "--kl-cycles"),
        ({"kind": "cyclic", "length": 8, "cycles": 9}, "--kl-cycles"),
        ({"kind": "cyclic", "length": 8, "ratio": 0.0}, "--kl-cycle-ratio"),
        ({"kind": "cyclic", "length": 8, "ratio": 1.1}, "--kl-cycle-ratio"),
    ],
)
def test_bad_schedules(settings, message):
    with pytest.raises(AMIError, match=message):
        Annealing(**settings)
