"""Limits and frozen weights in checkpoints that are handed on."""

import pytest
from unit.tiny import make_pair, make_task

from fairseq_ami.tools.sharing.states import plain_state


def exported(task, direction, arch="ami_transformer", **settings):
    """A plain network of a pair that was trained with limits of 30 and 5."""
    limits = {"max_source_positions": 30, "max_target_positions": 5}
    model = make_pair(task, arch, **limits, **settings)
    cfg = {"common": {}, "model": {**vars(model.args_of_test), "_name": arch}, "task": limits}
    return plain_state({"cfg": cfg, "model": model.state_dict()}, direction, "checkpoint.pt")["cfg"]


def limits_of(part):
    return part["max_source_positions"], part["max_target_positions"]


def dialogue():
    task = make_task(3, 3)
    task.target_dictionary = task.source_dictionary
    task.backward_languages = ("context", "last")
    return task


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_limits_of_an_exported_network(direction):
    """Those of its languages: a translation's are exchanged, both networks of a dialogue read histories."""
    for task, backward in ((make_task(), (5, 30)), (dialogue(), (30, 5))):
        cfg = exported(task, direction)
        want = (30, 5) if direction == "forward" else backward
        assert limits_of(cfg["model"]) == limits_of(cfg["task"]) == want


def test_frozen_embeddings_of_an_exported_network():
    """fairseq could not build a network that freezes an embedding without its file."""
    frozen = {"encoder_freeze_embed": True, "decoder_freeze_embed": True}
    model = exported(make_task(), "forward", "ami_lstm", **frozen)["model"]
    assert not model["encoder_freeze_embed"] and not model["decoder_freeze_embed"]
