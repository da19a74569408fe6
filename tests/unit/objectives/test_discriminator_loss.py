"""The cross-entropy of a discriminator, by hand."""

import math

import pytest
import torch

from fairseq_ami.objectives import discriminator_loss


def test_by_hand():
    """Probabilities 3/4 on the real text, 1/4 and 1/2 on the samples; then a guess."""
    real = torch.tensor([math.log(3.0), 0.0])
    fake = torch.tensor([[-math.log(3.0), 0.0], [0.0, 0.0]])
    want = [0.5 * (-math.log(0.75) - 0.5 * (math.log(0.75) + math.log(0.5))), math.log(2)]
    assert discriminator_loss(real, fake).tolist() == pytest.approx(want, rel=1e-6)


def test_it_stays_finite_in_half_precision():
    real, fake = torch.full((1,), -300.0).half(), torch.full((1, 1), 300.0).half()
    assert discriminator_loss(real, fake).item() == pytest.approx(300.0)
