"""Generator and discriminator in one model: how it is built, who owns which weights, what is kept for a reload."""

from argparse import Namespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.lstm import LSTMModel
from fairseq.models.transformer import TransformerModel
from unit.tiny import make_pair, save_networks
from unit.tiny_gan import make_gan, make_task

from fairseq_ami.errors import AMIError
from fairseq_ami.models.dialog_gan import DialogGAN
from fairseq_ami.models.hred import HRED


def settings(**given):
    args = Namespace(arch="dialog_gan_tiny", **given)
    ARCH_CONFIG_REGISTRY["dialog_gan_tiny"](args)
    return args


@pytest.fixture
def checkpoint(tmp_path):
    return save_networks(tmp_path, make_task(), {})["forward_checkpoint"]


def test_it_starts_as_its_checkpoint_and_is_rebuilt_without_it(checkpoint, tmp_path):
    task, args = make_task(), settings(generator_checkpoint=checkpoint)
    model = DialogGAN.build_model(args, task)
    model.load_pretrained(args)
    saved = torch.load(checkpoint, weights_only=False)["model"]
    weights = model.forward_model.state_dict()
    assert saved.keys() == weights.keys() and all(torch.equal(saved[key], weights[key]) for key in saved)
    assert args.generator_network == "transformer" and DialogGAN.network_of(vars(args)) is TransformerModel
    args.generator_checkpoint = str(tmp_path / "gone.pt")
    again = DialogGAN.build_model(args, task)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert args.discriminator_hidden_size == 16 and args.pair_languages == ["hist", "reply"]


def test_another_use_of_a_trained_one_is_refused(checkpoint):
    args = settings(generator_checkpoint=checkpoint)
    DialogGAN.build_model(args, make_task())
    task = make_task()
    task.cfg.source_lang, task.cfg.target_lang = "context", "last"
    with pytest.raises(AMIError, match="pass -s hist -t reply"):
        DialogGAN.build_model(args, task)


def test_whose_weights(checkpoint):
    model = make_gan(make_task())
    names = {"forward_model": "generator", "discriminator": "discriminator", "baseline": "baseline"}
    owners = {name: parameter.param_group for name, parameter in model.named_parameters()}
    assert owners == {name: names[name.split(".")[0]] for name in owners} and set(owners.values()) == set(
        names.values()
    )
    model.set_players({"discriminator"})
    moving = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moving == {"discriminator"}


@pytest.mark.parametrize(
    "network, kind", [("ami_transformer", TransformerModel), ("ami_lstm", LSTMModel), ("ami_hred", HRED)]
)
def test_it_decodes_as_its_generator(network, kind):
    task = make_task()
    model = make_gan(task, network).eval()
    assert isinstance(model.active, kind) and model.encoder is model.forward_model.encoder
    tokens, lengths = torch.tensor([[1, 4, 2], [5, 4, 2]]), torch.tensor([2, 3])  # in any order of length
    previous = torch.tensor([[2, 4], [2, 5]])
    alone = [
        model.forward_model(tokens[row : row + 1, 3 - n :], torch.tensor([n]), previous[row : row + 1])[0]
        for row, n in enumerate(lengths.tolist())
    ]
    found = model(tokens, lengths, previous)[0]
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)


def test_no_checkpoint_and_a_wrong_one(tmp_path, checkpoint):
    with pytest.raises(AMIError, match="pass --generator-checkpoint"):
        DialogGAN.build_model(settings(), make_task())
    pair = make_pair(make_task())
    torch.save({"args": pair.args_of_test, "model": pair.state_dict()}, tmp_path / "pair.pt")
    with pytest.raises(AMIError, match="is of the architecture 'ami_transformer'.*fairseq-ami export"):
        DialogGAN.build_model(settings(generator_checkpoint=str(tmp_path / "pair.pt")), make_task())
    args = settings(generator_checkpoint=checkpoint)
    other = make_task(5)
    with pytest.raises(AMIError, match="--generator-checkpoint .* knows 6 symbols"):
        DialogGAN.build_model(args, other).load_pretrained(args)
