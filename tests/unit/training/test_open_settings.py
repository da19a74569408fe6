"""Configuration files that leave something to the command line."""

import pytest
from omegaconf import OmegaConf

from fairseq_ami.errors import AMIError
from fairseq_ami.training.settings import check_complete


def configuration(**task):
    model = {"forward_checkpoint": "a.pt", "backward_checkpoint": "???"}
    return OmegaConf.create({"model": model, "task": task, "checkpoint": {"save_dir": "???"}})


def test_everything_that_is_open_is_named_at_once():
    message = r"leaves open checkpoint.save_dir, model.backward_checkpoint: .* as checkpoint.save_dir=VALUE"
    with pytest.raises(AMIError, match=message):
        check_complete(configuration(data="bin").task)
    with pytest.raises(AMIError, match="leaves open checkpoint.save_dir, model.backward_checkpoint, task.data"):
        check_complete(configuration(data=None).task)


def test_a_complete_one_passes():
    whole = configuration(data="bin")
    whole.model.backward_checkpoint = "b.pt"
    whole.checkpoint.save_dir = "run"
    whole.bpe = {"_name": "subword_nmt", "bpe_codes": "???"}  # for decoding; training does not read it
    check_complete(whole.task)
    check_complete(OmegaConf.create({"data": "bin"}))
