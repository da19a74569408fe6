"""Weight clipping by hand, around 0 and around the start."""

import pytest
import torch

from fairseq_ami.optim.weight_box import clip_weights


def test_absolute_box():
    """[-1, 1]: three of five weights were outside, on the edge is inside."""
    weights = [torch.tensor([0.5, -3.0, 1.0]), torch.tensor([[1.5], [-1.25]])]
    assert clip_weights(weights, 1.0, None) == pytest.approx(3 / 5)
    assert weights[0].tolist() == [0.5, -1.0, 1.0] and weights[1].tolist() == [[1.0], [-1.0]]


def test_relative_box():
    """Half-width 0.5 around each weight's own centre."""
    weights = [torch.tensor([10.25, 11.0, 9.0, -2.0])]
    centres = [torch.tensor([10.0, 10.0, 10.0, -2.5])]
    assert clip_weights(weights, 0.5, centres) == pytest.approx(2 / 4)
    assert weights[0].tolist() == [10.25, 10.5, 9.5, -2.0]
    assert centres[0].tolist() == [10.0, 10.0, 10.0, -2.5]


def test_clipping_is_in_place_and_idempotent():
    """The optimizer's own tensors change; a second time there is nothing to do, whatever the rounding."""
    weight, centre = torch.nn.Parameter(torch.randn(1000)), torch.randn(1000)
    storage = weight.data_ptr()
    assert clip_weights([weight], 0.01, [centre]) > 0.9
    assert weight.data_ptr() == storage
    assert clip_weights([weight], 0.01, [centre]) == 0.0
    assert (weight >= centre - 0.01).all() and (weight <= centre + 0.01).all()


def test_not_a_number_stays_visible():
    """A NaN must not be clamped into an innocent number."""
    weight = torch.tensor([float("nan"), 0.0])
    clip_weights([weight], 0.01, None)
    assert weight.isnan().tolist() == [True, False]


def test_nothing_to_clip():
    """No weights: a fraction of 0, not a division by zero."""
    assert clip_weights([], 0.01, None) == 0.0
