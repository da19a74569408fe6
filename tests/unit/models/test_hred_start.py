"""Models with latent variables that start as an HRED reply as it does, and other checkpoints are refused."""

from argparse import Namespace

import pytest
import torch
from unit.models.test_hred import PAIRS
from unit.tiny_hred import SIZES, make_batch, make_model, make_task
from unit.tiny_latent import KINDS, make_latent, terms

from fairseq_ami.errors import AMIError


def save(folder, model, arch="hred", **settings):
    given = {**SIZES, "decoder_cell": "gru", "condition": "first", "separate_embeddings": False, **settings}
    path = str(folder / "hred.pt")
    torch.save({"args": Namespace(arch=arch, _name=arch, **given), "model": model.state_dict()}, path)
    return path


@pytest.mark.parametrize("condition", ["first", "all"])
@pytest.mark.parametrize("name", KINDS)
def test_starts_as_the_hred(name, condition, tmp_path):
    """Whatever z is; and all weights on it learn."""
    task = make_task()
    hred = make_model(task, condition=condition, seed=7)
    path = save(tmp_path, hred, condition=condition)
    model = make_latent(name, task, condition=condition, hred_checkpoint=path, scale=1.0)
    batch = make_batch(task, PAIRS)
    found = terms(model, batch)
    expected = terms(hred, batch)["reconstruction"]
    torch.testing.assert_close(found["reconstruction"], expected, atol=1e-5, rtol=1e-5)
    found["reconstruction"].sum().backward()
    latent = model.decoder.first_state.weight.grad[:, SIZES["context_hidden_size"] :]
    assert (latent.abs().sum(0) > 0).all()


def test_an_hred_that_reads_the_context_once_starts_one_that_reads_it_always(tmp_path):
    task = make_task()
    hred = make_model(task, seed=7)
    model = make_latent("vhred", task, condition="all", hred_checkpoint=save(tmp_path, hred), scale=1.0)
    batch = make_batch(task, PAIRS)
    found, expected = (terms(each, batch)["reconstruction"] for each in (model, hred))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_checkpoint_is_not_needed_later(tmp_path):
    """The model's own checkpoints hold its weights: their settings name no other file."""
    kind, config = KINDS["vhred"]
    cfg = config(**{**SIZES, "hred_checkpoint": save(tmp_path, make_model(make_task()).float())})
    kind.build_model(cfg, make_task())
    assert cfg.hred_checkpoint is None


def test_refused(tmp_path):
    task = make_task()

    def start(path, **settings):
        make_latent("vhred", task, hred_checkpoint=path, **settings)

    with pytest.raises(AMIError, match="--hred-checkpoint: there is no file"):
        start(str(tmp_path / "nothing.pt"))
    with pytest.raises(AMIError, match="of the model 'vhred'.*--arch hred"):
        start(save(tmp_path, make_latent("vhred", task), arch="vhred"))
    with pytest.raises(AMIError, match="knows 11 symbols, the dictionary of this data has 9"):
        start(save(tmp_path, make_model(make_task(6))))
    with pytest.raises(AMIError, match="of another size.*--context-hidden-size 7"):
        start(save(tmp_path, make_model(task, context_hidden_size=7), context_hidden_size=7))
    with pytest.raises(AMIError, match="of another size.*--decoder-cell lstm"):
        start(save(tmp_path, make_model(task, decoder_cell="lstm"), decoder_cell="lstm"))
    with pytest.raises(AMIError, match="of another size.*--condition all"):
        start(save(tmp_path, make_model(task, condition="all"), condition="all"))
    with pytest.raises(AMIError, match="--separate-embeddings as well"):
        start(save(tmp_path, make_model(task, separate_embeddings=True), separate_embeddings=True))
    start(save(tmp_path, make_model(task, separate_embeddings=True)), separate_embeddings=True)
