"""A few weights of each player, and updates with made-up gradients for the phased optimizer."""

import torch

import fairseq_ami  # noqa: F401
from fairseq_ami.optim import AMIPhased, RunningStatistics
from fairseq_ami.optim.phased_config import AMIPhasedConfig
from fairseq_ami.schedules import PRETRAIN

PLAYERS = ("forward", "backward", "noise")
DECAY = '{"weight_decay": 0.1, "adam_betas": "(0.8, 0.9)"}'


def make_weights(seed=0, players=PLAYERS):
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for player in players:
        weights[player] = [torch.nn.Parameter(torch.randn(n, generator=generator)) for n in (3, 5)]
        for weight in weights[player]:
            weight.param_group = player
    return weights


def make_optimizer(weights, **settings):
    given = {f"{player}_clip_norm": 0.0 for player in weights if player in PLAYERS}
    given.update(inner_optimizer_args=DECAY, fp16=False, bf16=False)
    if "backward" in weights:
        given["weight_clip_mode"] = "none"
    given.update(settings)
    params = [w for group in weights.values() for w in group]
    optimizer = AMIPhased(AMIPhasedConfig(**given), params)
    optimizer.track("rewards", RunningStatistics(0.9))
    return optimizer


def gradients(weights, seed):
    """Every player gets a gradient, as in half precision and under legacy_ddp."""
    generator = torch.Generator().manual_seed(seed)
    for group in weights.values():
        for weight in group:
            weight.grad = torch.randn(weight.shape, generator=generator)


def play(optimizer, weights, phases, first=0):
    for number, phase in enumerate(phases, first):
        gradients(weights, number)
        players = {"forward", "backward"} if phase == PRETRAIN else {phase}
        optimizer.clip_grad_norm(0.0)
        optimizer.start_update(phase, players)
        optimizer.step(groups=players)
        optimizer.finish_update()


def copies(weights):
    return {player: [w.detach().clone() for w in group] for player, group in weights.items()}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b))
