"""Networks, batches and criterions small enough to be checked by enumeration."""

from argparse import Namespace
from types import SimpleNamespace

import torch
from fairseq.data import Dictionary
from fairseq.data.language_pair_dataset import collate
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_REGISTRY
from fairseq.models.transformer import TransformerModel

import fairseq_ami  # noqa: F401  (registers the models)
from fairseq_ami.criterions.ami_minimax import AMIMinimax, AMIMinimaxConfig

SIZES = {
    "ami_transformer": {
        "encoder_embed_dim": 8,
        "decoder_embed_dim": 8,
        "encoder_ffn_embed_dim": 8,
        "decoder_ffn_embed_dim": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    },
    "ami_lstm": {
        "encoder_embed_dim": 4,
        "encoder_hidden_size": 4,
        "encoder_layers": 1,
        "decoder_embed_dim": 4,
        "decoder_hidden_size": 8,
        "decoder_out_embed_dim": 4,
        "decoder_layers": 1,
    },
    "ami_hred": {"embed_dim": 4, "encoder_hidden_size": 4, "context_hidden_size": 6, "decoder_hidden_size": 8},
}


def dictionary(words):
    """fairseq's dictionary of the four specials and *words* more."""
    result = Dictionary()
    for index in range(words):
        result.add_symbol(f"w{index}")
    return result


def make_task(source_words=3, target_words=2, languages=("en", "de")):
    """What a model and a criterion ask a task for; dictionaries of different sizes show a mix-up."""
    return SimpleNamespace(
        source_dictionary=dictionary(source_words),
        target_dictionary=dictionary(target_words),
        cfg=SimpleNamespace(source_lang=languages[0], target_lang=languages[1]),
    )


# factor on the initial weights, for distributions that are far from uniform and depend on the input
SPREAD = {"ami_transformer": 1.5, "ami_lstm": 12.0, "ami_hred": 4.0}


def make_pair(task, arch="ami_transformer", seed=1, **settings):
    """An untrained pair with enlarged weights, in training mode."""
    torch.manual_seed(seed)
    given = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, **SIZES[arch]}
    given.update(max_source_positions=20, max_target_positions=20)
    given.update(settings)
    args = Namespace(arch=arch, **given)
    ARCH_CONFIG_REGISTRY[arch](args)
    model = MODEL_REGISTRY[arch].build_model(args, task)
    with torch.no_grad():
        for network in filter(None, (model.forward_model, model.backward_model)):
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(SPREAD[arch])
    model.args_of_test = args
    return model.train()


def save_networks(folder, task, own, **settings):
    """Stock checkpoints of two untrained Transformers, as the flags of a pair that takes them over.

    Args:
        own: more settings of ``forward`` or ``backward``.
        settings: of both.
    """
    paths = {}
    for name, view in (
        ("forward", task),
        ("backward", make_task(len(task.target_dictionary) - 4, len(task.source_dictionary) - 4)),
    ):
        args = Namespace(
            **{**vars(make_pair(task, **settings).args_of_test), "arch": "transformer", **own.get(name, {})}
        )
        paths[f"{name}_checkpoint"] = str(folder / f"{name}.pt")
        weights = TransformerModel.build_model(args, view).state_dict()
        torch.save({"args": args, "model": weights}, paths[f"{name}_checkpoint"])
    return paths


def make_batch(task, pairs, ids=None):
    """fairseq's own collation of (source words, target words), word w0 written as 0; sorted by length."""
    samples = []
    for index, (source, target) in enumerate(pairs):
        samples.append(
            {
                "id": index if ids is None else ids[index],
                "source": torch.tensor([4 + word for word in source] + [task.source_dictionary.eos()]),
                "target": torch.tensor([4 + word for word in target] + [task.target_dictionary.eos()]),
            }
        )
    return collate(samples, task.source_dictionary.pad(), task.source_dictionary.eos())


def make_criterion(task, **settings):
    """The criterion with *settings*; samples of at most three symbols, the last of them a forced end."""
    given = {"seed": 3, "sample_max_len_a": 0.0, "sample_max_len_b": 3, "reward_scale": "none", **settings}
    return AMIMinimax(AMIMinimaxConfig(**given), task)
