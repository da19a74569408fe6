"""Dropout off where fairseq computes activations again in the backward pass (--checkpoint-activations)."""

import pytest
import torch
from unit.tiny import make_batch, make_criterion, make_pair, save_networks

from fairseq_ami.criterions.ami_minimax import Step
from fairseq_ami.modules import dropout_off

CHECKPOINTING = {"checkpoint": {"checkpoint_activations": True}, "offload": {"offload_activations": True}}
DROPOUT = {"dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3}
LAYERS = {"encoder_layers": 2, "decoder_layers": 2}


@pytest.fixture(params=CHECKPOINTING)
def pairs(request, task):
    """A pair that computes its activations again, and one with the same weights that keeps them."""
    return [make_pair(task, **DROPOUT, **LAYERS, **more) for more in (CHECKPOINTING[request.param], {})]


def gradients(model, loss):
    """Of every weight, one after the other; checkpointed layers allow no torch.autograd.grad."""
    model.zero_grad()
    loss.backward()
    return torch.cat([(w.new_zeros(w.shape) if w.grad is None else w.grad).flatten() for w in model.parameters()])


def phase_gradients(model, task, phase):
    batch = make_batch(task, [([0, 2, 1], [0, 1]), ([1], [1, 1]), ([2, 2], [0])])
    criterion = make_criterion(task, num_samples=3)
    model.set_players({phase})
    torch.manual_seed(7)  # of the dropout of real pairs
    return gradients(model, criterion(model, batch, Step(phase, 3))[0])


def assert_same(found, wanted):
    assert wanted.norm() > 0.05
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("phase", ["forward", "noise", "backward"])
def test_phases_have_the_gradient_of_kept_activations(pairs, task, phase):
    """Both terms of each phase: samples without dropout, real pairs with it."""
    again, kept = pairs
    assert again.forward_model.decoder.layers[1].forward.func.__name__ == "_checkpointed_forward"
    assert_same(phase_gradients(again, task, phase), phase_gradients(kept, task, phase))


@pytest.mark.parametrize("checkpointed", ["forward", "backward"])
def test_checkpointing_taken_over_from_a_pretrained_network(task, tmp_path, checkpointed):
    """No flag is needed: a stock checkpoint brings the setting along."""
    paths = save_networks(tmp_path, task, {checkpointed: {"checkpoint_activations": True}}, **DROPOUT, **LAYERS)
    again, kept = (make_pair(task, **DROPOUT, **LAYERS, **more) for more in (paths, {}))
    layers = [getattr(again, f"{name}_model").encoder.layers[0] for name in ("forward", "backward")]
    assert [hasattr(layer, "precheckpoint_forward") for layer in layers] == [
        name == checkpointed for name in ("forward", "backward")
    ]
    kept.load_state_dict(again.state_dict())
    assert_same(phase_gradients(again, task, "forward"), phase_gradients(kept, task, "forward"))


def test_gradient_is_that_of_finite_differences(pairs, task):
    """One network in float64: a step along the gradient changes the loss by its squared norm."""
    network = pairs[0].double().forward_model
    inputs = make_batch(task, [([0, 2, 1], [0, 1]), ([1], [1, 1])])["net_input"]

    def loss():
        with dropout_off(network):
            return torch.log_softmax(network(**inputs)[0], -1)[..., 4].sum()

    gradient = gradients(network, loss())
    slope, values = float(gradient.pow(2).sum()), []
    start = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    for sign in (1, -1):
        moved = start + sign * 1e-4 / slope**0.5 * gradient
        torch.nn.utils.vector_to_parameters(moved, network.parameters())
        values.append(loss().item())
    assert (values[0] - values[1]) / 2e-4 * slope**0.5 == pytest.approx(slope, rel=1e-3)


def test_checkpointing_is_left_as_it_was(pairs, task):
    """After the block the network is the stock one again: its dropout, and the same dropout when it computes again."""
    again, kept = (pair.forward_model for pair in pairs)
    inputs = make_batch(task, [([0, 2, 1], [0, 1]), ([1], [1, 1])])["net_input"]
    before = [(module.forward, module.training) for module in again.modules()]
    with pytest.raises(KeyboardInterrupt), dropout_off(again, again), dropout_off(again):
        raise KeyboardInterrupt
    assert [(module.forward, module.training) for module in again.modules()] == before
    found = []
    for network in (again, kept):
        torch.manual_seed(7)
        found.append(gradients(network, network(**inputs)[0].sum()))
    assert_same(*found)
