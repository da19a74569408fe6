"""Gradients of the criterion over many samples, and how they are held against exact ones."""

import math

import pytest
import torch
import torch.nn.functional as F
from unit.tiny import make_criterion

from fairseq_ami.criterions.ami_turn import Step

EOS = 2
UPDATES, COPIES = 12, 300


def flat(grads):
    return torch.cat([g.reshape(-1) for g in grads]).double()


def exact_gradient(model, player, loss):
    """Gradient of the exact loss, summed over the sources, for one player."""
    weights = list(model.player_networks()[player].parameters())
    grads = torch.autograd.grad(loss, weights, allow_unused=True)
    return flat([torch.zeros_like(w) if g is None else g for g, w in zip(grads, weights)])


def sampled_gradients(game, phase, reward_mean=None, reward_std=None, step=None, **settings):
    """The criterion's gradient in each of many updates, for one copy of the sources; (updates, weights).

    Args:
        step: more of what the criterion is told about an update; or its number -> that.
        settings: of the criterion.
    """
    task, model, batch, _ = game
    criterion = make_criterion(task, **settings)
    model.set_players({phase})
    weights = list(model.player_networks()[phase].parameters())
    rows = []
    for update in range(UPDATES):
        more = step(update) if callable(step) else step or {}
        loss = criterion(model, batch, Step(phase, update, reward_mean, reward_std, **more))[0]
        model.zero_grad()
        (loss / COPIES).backward()  # checkpointed layers allow no torch.autograd.grad
        rows.append(flat([torch.zeros_like(w) if w.grad is None else w.grad for w in weights]))
    model.set_players({"noise", "forward", "backward"})
    return torch.stack(rows)


def assert_unbiased(sampled, exact):
    """Within a few standard errors everywhere, and of the same direction."""
    mean = sampled.mean(0)
    assert exact.norm() > 0.05  # there is something to agree on
    error = sampled.std(0) / math.sqrt(len(sampled)) + 1e-5 * exact.norm()  # float32 has no more digits
    deviation = (mean - exact) / error
    assert deviation.abs().max() < 6
    assert deviation.pow(2).mean().sqrt() < 2
    assert F.cosine_similarity(mean, exact, dim=0) > 0.99
    assert mean.norm() / exact.norm() == pytest.approx(1.0, abs=0.1)
