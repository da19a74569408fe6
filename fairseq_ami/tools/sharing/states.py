"""Checkpoints to hand on: one network as a plain fairseq checkpoint, or the pair without its training state.

What is written holds tensors, dicts, lists, strings and numbers only: ``torch.load(weights_only=True)``
reads it with no allow-list, and no path of the machine that trained it stays inside.
"""

import logging
import os
from argparse import Namespace
from dataclasses import fields
from typing import Any, Dict, Optional, Type

from fairseq.data.data_utils import infer_language_pair
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_REGISTRY, BaseFairseqModel, FairseqEncoderDecoderModel
from fairseq.models.transformer import transformer_legacy
from fairseq.tasks.translation import TranslationConfig

from fairseq_ami.checkpoints import architecture, languages_of, model_class, part_of
from fairseq_ami.choices import TOKENIZERS
from fairseq_ami.errors import AMIError
from fairseq_ami.models.dialog_gan import DialogGAN
from fairseq_ami.models.pair_settings import mirrored
from fairseq_ami.models.paired import DIRECTIONS, PairedModel
from fairseq_ami.tools.sharing.plain import default_sections, plain_checkpoint
from fairseq_ami.types import Network

logger = logging.getLogger(__name__)

PAIR_SETTINGS = (
    "network_settings", "no_backward_network", "no_latent_noise", "noise_scale", "noise_hidden_dim", "infomax_dim",
)  # fmt: skip


def pair_class(state: Dict[str, Any], path: str) -> Type[PairedModel]:
    """The class of the pair in a checkpoint.

    Raises:
        AMIError: the checkpoint is of something else.
    """
    model = part_of(state, "model")
    found = model_class(model)
    if not is_pair(state):
        raise AMIError(
            f"{path} is a checkpoint of {architecture(model)!r}, not a pair of networks (ami_transformer, ami_lstm): "
            "there is nothing to take out of it; fairseq loads it as it is"
        )
    return found


def languages(state: Dict[str, Any], direction: str) -> "tuple[str, str]":
    """Source and target language of one direction of the pair."""
    source, target = languages_of(part_of(state, "model"))[direction]
    return source, target


def plain_state(state: Dict[str, Any], direction: str, path: str) -> Dict[str, Any]:
    """One network of the pair as a checkpoint of stock fairseq.

    Args:
        state: contents of a checkpoint of a pair.
        direction: ``forward`` or ``backward``.
        path: of the checkpoint, for messages.

    Returns:
        A checkpoint with its configuration as plain dicts and without optimizer state; its tensors are
        those of *state*.

    Raises:
        AMIError: *state* is not of a pair.
    """
    if direction not in DIRECTIONS:
        raise AMIError(f"direction {direction!r}: choose forward or backward")
    cls = pair_class(state, path)
    model = part_of(state, "model")
    name, stored = registered_name(network_class(cls, model)), model["network_settings"]
    if direction not in stored:
        raise AMIError(f"{path} has no {direction} network: it was trained with --no-{direction}-network")
    settings = network_settings(stored[direction], name)
    prefix = f"{direction}_model."
    weights = {key[len(prefix) :]: value for key, value in state["model"].items() if key.startswith(prefix)}
    cfg = _configuration(state, languages(state, direction), _exchanged(state, direction))
    trainable = {key: False for key in ("encoder_freeze_embed", "decoder_freeze_embed") if key in settings}
    cfg["model"] = {**settings, **trainable, "_name": name, "arch": name}  # fairseq cannot freeze without a file
    cfg["task"]["_name"] = "translation"
    cfg["criterion"] = {"_name": "cross_entropy", "sentence_avg": False}  # what fairseq-validate reports
    if any(key.startswith("latent_noise.") for key in state["model"]):
        logger.info("the latent-noise network is left out: the plain network translates without noise")
    return plain_checkpoint(state, cfg, weights)


def is_pair(state: Dict[str, Any]) -> bool:
    """Whether the checkpoint is of a pair."""
    found = model_class(part_of(state, "model"))
    return isinstance(found, type) and issubclass(found, PairedModel)


def stock_state(state: Dict[str, Any], data: Optional[str], path: str) -> Dict[str, Any]:
    """A checkpoint of a single network in the form that :func:`plain_state` gives one of a pair.

    The noise network of a ``noisy_transformer`` is left out.

    Args:
        state: contents of the checkpoint.
        data: folder of the data; it tells the languages where the checkpoint does not.
        path: of the checkpoint, for messages.

    Raises:
        AMIError: a model that does not translate, or unknown languages.
    """
    check_translates(state, path)
    model = part_of(state, "model")
    name = registered_name(model_class(model))
    weights = {key: value for key, value in state["model"].items() if not key.startswith("encoder.latent_noise.")}
    if name == "noisy_transformer":
        name = "transformer"
        logger.info("the latent-noise network is left out: the exported network translates without noise")
    settings = network_settings(model, name) if name in ARCH_CONFIG_REGISTRY else model
    cfg = _configuration(state, languages_of_task(part_of(state, "task"), data, path))
    cfg["model"] = {**settings, "_name": name, "arch": name}
    cfg["task"]["_name"] = "translation"
    cfg["criterion"] = {"_name": "cross_entropy", "sentence_avg": False}
    return plain_checkpoint(state, cfg, weights)


def check_translates(state: Dict[str, Any], path: str) -> None:
    """Refuse what is no encoder-decoder of fairseq's.

    Raises:
        AMIError: a checkpoint of something else, or of a model that this fairseq does not know.
    """
    name = architecture(part_of(state, "model"))
    cls = model_class(part_of(state, "model"))
    if not (isinstance(cls, type) and issubclass(cls, FairseqEncoderDecoderModel)):
        raise AMIError(f"{path} is a checkpoint of {name!r}, which is no network that translates")


def languages_of_task(task: Dict[str, Any], data: Optional[str], path: str) -> "tuple[str, str]":
    """Source and target language of a single network; fairseq stores languages that it found in the data as None.

    Args:
        task: settings of the task.
        data: folder of the data, or None for the one of the training.
        path: of the checkpoint, for messages.

    Raises:
        AMIError: neither the checkpoint nor the data tells them.
    """
    names = [task.get("source_lang"), task.get("target_lang")]
    folder = data or str(task.get("data") or "").split(os.pathsep)[0]
    if None in names and os.path.isdir(folder):
        names = list(infer_language_pair(folder))
    if None in names:
        raise AMIError(f"{path} does not tell its languages: name the folder of its binarised data with --data")
    return names[0], names[1]


def pair_state(state: Dict[str, Any], path: str) -> Dict[str, Any]:
    """The whole pair, with its noise network, without training state.

    Raises:
        AMIError: *state* is not of a pair.
    """
    cls = pair_class(state, path)
    stored = part_of(state, "model")
    if issubclass(cls, DialogGAN):
        raise AMIError(f"{path} holds a generator and its discriminator: export the generator with --direction forward")
    model = {key: stored.get(key) for key in PAIR_SETTINGS}
    network = registered_name(network_class(cls, stored))
    model["network_settings"] = {
        key: network_settings(settings, network) for key, settings in model["network_settings"].items()
    }
    model["pair_languages"], model["backward_languages"] = (list(languages(state, key)) for key in DIRECTIONS)
    name = registered_name(cls)
    model.update(_name=name, arch=name, forward_checkpoint=None, backward_checkpoint=None, explicit_settings=[])
    cfg = _configuration(state, languages(state, "forward"))
    cfg["model"] = model
    cfg["task"].update(_name=part_of(state, "task").get("_name", "ami_translation"), seed=cfg["common"]["seed"])
    cfg["criterion"] = part_of(state, "criterion")
    return plain_checkpoint(state, cfg, dict(state["model"]))


def network_class(cls: Type[PairedModel], settings: Dict[str, Any]) -> Type[Network]:
    """The class of the networks of a pair, from the pair's class and settings."""
    return cls.network_of(settings) if issubclass(cls, DialogGAN) else cls.network_class


def registered_name(cls: Type[BaseFairseqModel]) -> str:
    """fairseq's name of a model class."""
    return next(name for name, value in MODEL_REGISTRY.items() if value is cls)


def network_settings(stored: Dict[str, Any], name: str) -> Dict[str, Any]:
    """All settings that rebuild a network anywhere: nothing left to defaults, no file but the checkpoint needed."""
    settings = dict(stored)
    settings.update(encoder_embed_path=None, decoder_embed_path=None)  # the embeddings are among the weights
    for side in ("encoder", "decoder"):
        keep = settings.get(f"{side}_layers_to_keep")
        if keep:  # the weights are of the pruned network already
            settings.update({f"{side}_layers": len(str(keep).split(",")), f"{side}_layers_to_keep": None})
    args = Namespace(**settings)
    ARCH_CONFIG_REGISTRY[name](args)
    settings = vars(args)
    settings["criterion"] = ""  # fairseq's LSTM looks at it
    if name == "transformer":  # fairseq adds these while it builds; older omegaconf takes no new keys then
        late = {
            "max_source_positions": transformer_legacy.DEFAULT_MAX_SOURCE_POSITIONS,
            "max_target_positions": transformer_legacy.DEFAULT_MAX_TARGET_POSITIONS,
            "min_params_to_wrap": transformer_legacy.DEFAULT_MIN_PARAMS_TO_WRAP,
        }
        settings.update({key: value for key, value in late.items() if settings.get(key) is None})
    return settings


def _exchanged(state: Dict[str, Any], direction: str) -> bool:
    """Whether the network reads what the task calls its target."""
    return direction == "backward" and mirrored(languages(state, "forward"), languages(state, "backward"))


def _configuration(state: Dict[str, Any], between: "tuple[str, str]", exchanged: bool = False) -> Dict[str, Any]:
    """fairseq's defaults, and the settings of the translation task between two languages."""
    cfg = default_sections(state)
    stored = part_of(state, "task")
    names = {field.name for field in fields(TranslationConfig)} - {"_name"}
    task = {name: stored[name] for name in names if name in stored}
    task["source_lang"], task["target_lang"] = between
    task.update(data=".", eval_bleu=False, load_alignments=False, train_subset="train", dataset_impl=None)
    limits = [stored.get("max_source_positions", 1024), stored.get("max_target_positions", 1024)]
    if exchanged:
        limits.reverse()
    task["max_source_positions"], task["max_target_positions"] = limits
    cfg.update(_name=None, task=task, bpe=None, tokenizer=None)
    return cfg


# ---------------------------------------------------------------------- text processing


def set_text_processing(
    cfg: Dict[str, Any], bpe_codes: Optional[str], tokenizer: Optional[str], language: str = "en"
) -> None:
    """Record how raw text becomes the symbols of the dictionary; the codes lie beside the checkpoint.

    Args:
        cfg: configuration of a checkpoint to write, changed in place.
        bpe_codes: name of the subword-nmt codes in the folder, or None.
        tokenizer: ``moses``, ``space`` or None.
        language: of a task that names none.
    """
    if bpe_codes:
        cfg["bpe"] = {"_name": "subword_nmt", "bpe_codes": os.path.basename(bpe_codes), "bpe_separator": "@@"}
    if tokenizer == "moses":
        task = cfg["task"]
        cfg["tokenizer"] = {
            "_name": "moses",
            "source_lang": task.get("source_lang", language),
            "target_lang": task.get("target_lang", language),
            "moses_no_dash_splits": False,
            "moses_no_escape": False,
        }
    elif tokenizer is not None:
        cfg["tokenizer"] = {"_name": tokenizer}


def text_processing_of(state: Dict[str, Any], path: str) -> "tuple[Optional[str], Optional[str]]":
    """Codes of subword-nmt and tokenizer that an exported checkpoint records; None for what it does not.

    Args:
        state: contents of the checkpoint.
        path: of the checkpoint; the codes lie beside it.
    """
    if not state.get("cfg"):
        return None, None
    bpe, tokenizer = (state["cfg"].get(name) or {} for name in ("bpe", "tokenizer"))
    codes = os.path.join(os.path.dirname(path), str(bpe.get("bpe_codes")))
    known = bpe.get("_name") == "subword_nmt" and os.path.isfile(codes)
    return codes if known else None, tokenizer.get("_name") if tokenizer.get("_name") in TOKENIZERS else None
