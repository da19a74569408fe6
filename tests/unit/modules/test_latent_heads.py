"""Heads against the same layers written out."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from fairseq_ami.modules.latent_heads import LatentHead


def layers(head, inputs):
    body = head.body
    hidden = torch.tanh(torch.tanh(inputs @ body[0].weight.T + body[0].bias) @ body[2].weight.T + body[2].bias)
    return hidden @ head.output.weight.T + head.output.bias


def test_gaussian():
    """The first half are means, the softplus of the second are variances."""
    head, inputs = LatentHead(5, 7, 3, "gaussian").double(), torch.randn(4, 5).double()
    out, found = layers(head, inputs), head(inputs)
    torch.testing.assert_close(found.mean, out[:, :3])
    torch.testing.assert_close(found.log_variance.exp(), softplus(out[:, 3:]) + 1e-6)


def test_dirichlet():
    head, inputs = LatentHead(5, 7, 3, "dirichlet").double(), torch.randn(4, 5).double()
    torch.testing.assert_close(head(inputs).concentration, softplus(layers(head, inputs)) + 1e-3)


@pytest.mark.parametrize("kind, least", [("gaussian", math.log(1e-6)), ("dirichlet", 1e-3)])
def test_floor(kind, least):
    """Where softplus underflows there is still a distribution, in half precision too."""
    head = LatentHead(5, 7, 3, kind)
    torch.nn.init.constant_(head.output.bias, -200.0)
    found = head.bfloat16()(torch.randn(4, 5).bfloat16())
    value = found.log_variance if kind == "gaussian" else found.concentration
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, torch.full((4, 3), least))
