"""A game that is small enough to be enumerated."""

import pytest
import torch
from unit.exact import Exact
from unit.sampled_gradients import COPIES
from unit.tiny import make_batch, make_pair, make_task

from fairseq_ami.criterions import vae_mine_elbo
from fairseq_ami.criterions.vae_mine_elbo import VAEMineELBO
from fairseq_ami.models import paired
from fairseq_ami.random_streams import Stream

PAIRS = [([0, 2], [0, 1]), ([1], [1])]  # two sources of different lengths: one row is padded


@pytest.fixture(params=[("ami_transformer", {})])
def game(request, monkeypatch):
    """A pair whose noise draws are fixed, a batch of many copies, and its exact objectives."""
    task = make_task()
    arch, settings = request.param
    model = make_pair(task, arch=arch, noise_scale=0.8, **settings)
    eps = torch.randn(3, model.latent.dim(model.forward_model))

    def same_draws(keys, z, padding_mask):
        draws = eps[: z.size(0)].unsqueeze(1).expand(-1, z.size(1), -1)
        if padding_mask is None:
            return draws
        place = ((~padding_mask).long().cumsum(1) - 1).clamp(min=0).t()
        return draws.gather(0, place.unsqueeze(-1).expand_as(draws))

    monkeypatch.setattr(paired, "noise_draws", same_draws)
    batch = make_batch(task, PAIRS * COPIES)

    def exact(**settings):
        return [Exact(model, source, target, eps, **settings) for source, target in PAIRS]

    return task, model, batch, exact


@pytest.fixture
def noise(monkeypatch):
    """The standard normal numbers that the criterion is given: those of the posterior, then those of the prior."""
    given = [torch.randn(5, 3).double(), torch.randn(5, 3).double()]
    streams = {Stream.VAE_POSTERIOR: given[0], Stream.VAE_PRIOR: given[1]}
    monkeypatch.setattr(vae_mine_elbo, "stream_keys", lambda seed, update, name, ids, _: torch.full_like(ids, name))
    monkeypatch.setattr(VAEMineELBO, "_noise", staticmethod(lambda keys, _: streams[int(keys[0])][: len(keys)]))
    return given
