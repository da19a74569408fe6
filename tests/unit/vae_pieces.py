"""A tiny text VAE with its criterion and batch, and the pieces of its loss from torch.distributions."""

import torch
from torch.distributions import Normal, kl_divergence
from unit.tiny_vae import make_batch, make_criterion, make_task, make_vae

SENTENCES = [[0, 2, 1, 3], [3], [1, 1, 0], [2, 0], [3, 2]]


def setting(task=None, kind="lstm", model=None, **settings):
    """Model, criterion and batch."""
    task = task or make_task()
    parts = {"critic": "concat", "bow_hidden": 4, **(model or {})}
    return make_vae(kind, task, **parts), make_criterion(task, **settings), make_batch(task, SENTENCES)


def pieces(model, batch, noise):
    """Reconstruction, KL by dimension, z, features: from torch.distributions and the tested log-likelihood."""
    heads, features = model.posterior(batch["target"])
    normal = Normal(heads.mean, heads.log_variance.exp().sqrt())
    z = heads.mean + noise * normal.stddev
    prior = Normal(torch.zeros_like(z), torch.ones_like(z))
    return -model.log_likelihood(batch["target"], z).sum(), kl_divergence(normal, prior), z, features


def negative_scores(model, features, z, kind="all"):
    """f of the true pairs and of the independent ones, by two loops."""
    n = len(z)
    f = [[model.critic(features[i : i + 1], z[j : j + 1])[0, 0] for j in range(n)] for i in range(n)]
    joint = torch.stack([f[i][i] for i in range(n)])
    marginal = [f[i][j] for i in range(n) for j in range(n) if (i != j if kind == "all" else j == (i + 1) % n)]
    return joint, torch.stack(marginal)
