"""Dialogue models with latent variables, small enough for quadrature."""

import numpy as np
import torch
from scipy.special import roots_jacobi
from torch.nn.functional import softplus
from unit.tiny_hred import copied_cell, decoder_steps, make_batch, make_model, make_task, utterance_loop

from fairseq_ami.models.hred import Keys
from fairseq_ami.models.latent_dialogue import VHRED, DirVHRED, DirVHREDConfig, VHREDConfig
from fairseq_ami.models.vhcr import VHCR, VHCRConfig
from fairseq_ami.random_streams import stream_keys

KINDS = {"vhred": (VHRED, VHREDConfig), "dir_vhred": (DirVHRED, DirVHREDConfig), "vhcr": (VHCR, VHCRConfig)}
DIMS = {"vhred": {"latent_dim": 2}, "dir_vhred": {"latent_dim": 3}, "vhcr": {"latent_dim": 2, "conversation_dim": 2}}


def make_latent(name, task=None, **settings):
    """An untrained model in training mode; no utterance is dropped unless asked for."""
    kind, config = KINDS[name]
    given = {**DIMS[name], **({"utterance_drop": 0.0} if name == "vhcr" else {}), **settings}
    return make_model(task, kind=kind, config=config, **given)


def make_keys(ids, owners=None, seed=5):
    """Of replies with these ids, and of the conversations with the ids *owners*."""
    ids = torch.as_tensor(ids)
    owners = ids if owners is None else torch.as_tensor(owners)
    return Keys(*(stream_keys(seed, 0, stream, of, 1) for stream, of in enumerate((ids, ids, owners, owners))))


def terms(model, batch, seed=5):
    """The terms of the ELBO of a batch of histories and replies."""
    return model(**batch["net_input"], target=batch["target"], keys=make_keys(batch["id"], seed=seed))


# ---------------------------------------------------------------------- exact likelihoods, without the models' code

HISTORY, REPLY = [[0, 1], [1]], [0, 1]


def repeated_batch(task, rows):
    """The same history and reply *rows* times; each row draws its own z."""
    return make_batch(task, [(HISTORY, REPLY)] * rows, ids=list(range(rows)))


def head_output(head, inputs):
    """What the linear layer of a head says."""
    for layer in (head.body[0], head.body[2]):
        inputs = torch.tanh(inputs @ layer.weight.T + layer.bias)
    return inputs @ head.output.weight.T + head.output.bias


def gaussian(head, inputs):
    """Mean and standard deviation that a head tells."""
    mean, raw = head_output(head, inputs).chunk(2, 1)
    return mean, (softplus(raw) + 1e-6).sqrt()


def trapezoid(nodes):
    """Points and log-weights of an expectation under N(0, 1): the trapezoidal rule, exact for smooth functions."""
    points = torch.linspace(-9, 9, nodes).double()
    weights = -0.5 * points**2
    return points, weights - weights.logsumexp(0)


def jacobi(nodes, a, b):
    """Points and log-weights of an expectation under Beta(a, b)."""
    points, weights = roots_jacobi(nodes, b - 1, a - 1)
    return torch.from_numpy((1 + points) / 2), torch.from_numpy(np.log(weights / weights.sum()))


def contexts(model, histories, first=None, beside=None):
    """Context after the last utterance, for each of several first states (n, size) and vectors beside (n, dim)."""
    encoder = model.encoder
    cell, table = copied_cell(encoder.context.gru, "_l0"), encoder.embed_tokens.weight
    h = torch.zeros(1, encoder.context.gru.hidden_size).double() if first is None else first
    for words in histories:
        vector = utterance_loop(encoder.utterances.gru, table, [*(4 + w for w in words), 2]).expand(len(h), -1)
        h = cell(vector if beside is None else torch.cat([vector, beside], 1), h)
    return h


@torch.no_grad()
def exact_log_likelihood(model, nodes=100):
    """log p(REPLY | HISTORY) of a model with z in R^1 (and a z of the conversation in R^1) or on the 2-simplex."""
    words = [*(4 + w for w in REPLY), 2]
    if isinstance(model, VHCR):
        points, weights = trapezoid(nodes)
        zc = points.unsqueeze(1)
        first = torch.tanh(zc @ model.encoder.first_context.weight.T + model.encoder.first_context.bias)
        c = contexts(model, HISTORY, first, zc)
        mean, deviation = gaussian(model.encoder.prior, torch.cat([c, zc], 1))
        z = (mean + deviation * points).flatten().unsqueeze(1)  # (conversation, sentence)
        condition = torch.cat([c.repeat_interleave(nodes, 0), z, zc.repeat_interleave(nodes, 0)], 1)
        log_weights = (weights.unsqueeze(1) + weights).flatten()
    else:
        c = contexts(model, HISTORY)
        if isinstance(model, DirVHRED):
            z, log_weights = simplex(head_output(model.encoder.prior, c), 40)
        else:
            points, log_weights = trapezoid(nodes)
            mean, deviation = gaussian(model.encoder.prior, c)
            z = mean + deviation * points.unsqueeze(1)
        condition = torch.cat([c.expand(len(z), -1), z], 1)
    return float((decoder_steps(model, condition, words) + log_weights).logsumexp(0))


def simplex(output, nodes):
    """Points of the 2-simplex and log-weights of an expectation under a Dirichlet, stick by stick."""
    a = (softplus(output) + 1e-3)[0].tolist()
    x, wx = jacobi(nodes, a[0], a[1] + a[2])
    y, wy = jacobi(nodes, a[1], a[2])
    first, second = x.repeat_interleave(nodes), y.repeat(nodes)
    z = torch.stack([first, (1 - first) * second, (1 - first) * (1 - second)], 1)
    return z, wx.repeat_interleave(nodes) + wy.repeat(nodes)


def make_world(name, told=1.0):
    """A model of three words whose likelihood is an integral over one dimension of each z.

    *told* is a factor on what the decoder's first state reads of z.
    """
    task = make_task(2)
    sizes = {"vhred": {"latent_dim": 1}, "dir_vhred": {}, "vhcr": {"latent_dim": 1, "conversation_dim": 1}}[name]
    model = make_latent(name, task, scale=2.5, **sizes)
    with torch.no_grad():
        model.decoder.first_state.weight[:, 5:] *= told
    return task, model
