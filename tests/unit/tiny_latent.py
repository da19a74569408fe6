"""Dialogue models with latent variables, small enough for quadrature."""

import torch
from unit.tiny_hred import make_model

from fairseq_ami.models.hred import Keys
from fairseq_ami.models.latent_dialogue import DirVHRED, DirVHREDConfig, VHRED, VHREDConfig
from fairseq_ami.models.vhcr import VHCR, VHCRConfig
from fairseq_ami.random_streams import stream_keys

KINDS = {"vhred": (VHRED, VHREDConfig), "dir_vhred": (DirVHRED, DirVHREDConfig), "vhcr": (VHCR, VHCRConfig)}
DIMS = {"vhred": {"latent_dim": 2}, "dir_vhred": {"latent_dim": 3}, "vhcr": {"latent_dim": 2, "conversation_dim": 2}}


def make_latent(name, task=None, **settings):
    """An untrained model in training mode."""
    kind, config = KINDS[name]
    return make_model(task, kind=kind, config=config, **{**DIMS[name], "utterance_drop": 0.0, **settings}
                      if name == "vhcr" else {**DIMS[name], **settings})  # fmt: skip


def make_keys(ids, owners=None, seed=5):
    """Of replies with these ids, and of the conversations with the ids *owners*."""
    ids = torch.as_tensor(ids)
    owners = ids if owners is None else torch.as_tensor(owners)
    each = [stream_keys(seed, 0, stream, of, 1) for stream, of in enumerate((ids, ids, owners, owners))]
    return Keys(*each)


def terms(model, batch, seed=5):
    return model(**batch["net_input"], target=batch["target"], keys=make_keys(batch["id"], seed=seed))
