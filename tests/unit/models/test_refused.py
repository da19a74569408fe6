"""Options of fairseq's networks that a pair refuses, and those under which its sampler stays exact."""

from argparse import Namespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer.transformer_legacy import TransformerModel
from unit.tiny import SIZES, make_batch, make_pair, make_task

from fairseq_ami.errors import AMIError
from fairseq_ami.models.refused import HARMFUL, IDLE, refuse_network, refuse_options

ON = {"adaptive_softmax_cutoff": "5", "base_layers": 1, "encoder_layers_to_keep": [0], "decoder_layers_to_keep": [0]}
ON |= {"adaptive_softmax_dropout": 0.1, "adaptive_softmax_factor": 2.0}


@pytest.mark.parametrize("name", [*HARMFUL, *IDLE])
def test_refused(name):
    """On the command line, with the flag and in one line."""
    with pytest.raises(AMIError, match="--" + name.replace("_", "-")) as error:
        make_pair(make_task(), **{name: ON.get(name, True)})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["adaptive_softmax_cutoff", "adaptive_softmax_factor"])
def test_refused_for_lstms(name):
    """fairseq's LSTM takes no notice of them unless its criterion is adaptive_loss."""
    with pytest.raises(AMIError, match="adaptive softmax is not supported"):
        make_pair(make_task(), arch="ami_lstm", **{name: ON[name]})


def test_defaults_of_an_architecture_pass():
    """fairseq's LSTM has a cutoff by default, which nobody asked for."""
    model = make_pair(make_task(), arch="ami_lstm")
    assert model.args_of_test.adaptive_softmax_cutoff
    refuse_options({"explicit_settings": ["dropout"], "char_inputs": True})
    refuse_options({"explicit_settings": ["char_inputs"], "char_inputs": False})


def test_a_checkpoint_is_named():
    with pytest.raises(AMIError, match="--base-layers 2 .of net.pt."):
        refuse_network({"base_layers": 2}, "net.pt")
    refuse_network({"base_layers": 0, "no_cross_attention": True, "cross_self_attention": True})


@pytest.mark.parametrize("name", ["cross_self_attention", "no_cross_attention"])
def test_who_reads_the_source(name):
    """Why no_cross_attention alone is refused: log P(T|S) of fairseq's own network does not depend on S."""
    torch.manual_seed(1)
    task = make_task()
    args = Namespace(**SIZES["ami_transformer"], **{name: True}, max_source_positions=9, max_target_positions=9)
    ARCH_CONFIG_REGISTRY["transformer"](args)
    model = TransformerModel.build_model(args, task).eval()
    first, second = (make_batch(task, [(source, [0, 1])])["net_input"] for source in ([0, 1], [2, 2]))
    same = torch.equal(model(**first)[0], model(**second)[0])
    assert same == (name == "no_cross_attention")
