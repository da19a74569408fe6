"""The device draws what the CPU draws, and its gradients are the CPU's."""

import copy

import pytest
import torch
from gpu.device import DEVICE
from unit.tiny import make_batch, make_criterion, make_pair, make_task

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.generation.rollout import roll_out
from fairseq_ami.random_streams import normal, stream_keys, uniform

PAIRS = [([row % 3, (row // 3) % 3, 1, 2][: 2 + row % 3], [row % 2] * (1 + row % 3)) for row in range(24)]
ARCHS = ["ami_transformer", "ami_lstm"]


def moved(value):
    """A nested batch on the device."""
    if torch.is_tensor(value):
        return value.to(DEVICE)
    return {key: moved(item) for key, item in value.items()} if isinstance(value, dict) else value


def both(arch):
    """The same pair and batch on the CPU and on the device."""
    task = make_task()
    pair, batch = make_pair(task, arch), make_batch(task, PAIRS)
    return task, [(pair, batch), (copy.deepcopy(pair).to(DEVICE), moved(batch))]


def test_random_streams():
    """Integers wrap around alike: uniform numbers are equal bit for bit, normal ones to rounding."""
    ids = torch.tensor([0, 3, 2**40, 17])
    keys, there = stream_keys(5, 1000, 1, ids, 3), stream_keys(5, 1000, 1, ids.to(DEVICE), 3)
    assert there.device.type == DEVICE and torch.equal(keys, there.cpu())
    assert torch.equal(uniform(keys, 40), uniform(there, 40).cpu())
    torch.testing.assert_close(normal(there, 7, 9).cpu(), normal(keys, 7, 9), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ancestral", "teacher-forced"])
@pytest.mark.parametrize("arch", ARCHS)
def test_samples(arch, kind):
    """Token for token, with noise; log-probability and entropy to rounding."""
    task, sides = both(arch)
    settings = make_criterion(task, num_samples=4, sampler=kind, sample_max_len_b=6).sampling
    cpu, device = (roll_out(pair, batch, settings, 7, noise=True, score=True) for pair, batch in sides)
    assert device.samples.tokens.device.type == DEVICE
    assert kind == "teacher-forced" or len(cpu.samples.tokens.unique(dim=0)) > 5
    assert torch.equal(cpu.samples.tokens, device.samples.tokens.cpu())
    assert torch.equal(cpu.samples.actions, device.samples.actions.cpu())
    for name in ("log_prob", "entropy", "noise_norm"):
        torch.testing.assert_close(getattr(device, name).cpu(), getattr(cpu, name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("phase", ["noise", "forward", "backward"])
@pytest.mark.parametrize("arch", ARCHS)
def test_gradients(arch, phase):
    """Each phase: the loss and all gradients (cuDNN's LSTM has a backward pass in training mode alone)."""
    task, sides = both(arch)
    criterion = make_criterion(task, num_samples=3, sample_max_len_b=6)
    gradients = []
    for pair, batch in sides:
        pair.train()
        pair.set_players({phase})
        loss, size, _ = criterion(pair, batch, Step(phase, 4, -1.0, 0.5))
        loss.backward()
        found = {name: p.grad.cpu() / size for name, p in pair.named_parameters() if p.grad is not None}
        gradients.append({"loss": loss.detach().cpu() / size, **found})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 3
    assert any(float(value.abs().max()) > 1e-3 for name, value in gradients[0].items() if name != "loss")
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
