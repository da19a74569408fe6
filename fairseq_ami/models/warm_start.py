"""A text VAE whose decoder starts as a trained language model, or whose encoder starts as that of another text VAE."""

import logging
from typing import Dict, Union

import torch
from torch import Tensor

from fairseq_ami.checkpoints import architecture, part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.models.text_vae_parts import TextVAEModelConfig
from fairseq_ami.types import Arguments

logger = logging.getLogger(__name__)

FLAG, ENCODER_FLAG = "--language-model", "--encoder-checkpoint"
_ENCODER = ("encoder.", "posterior_heads.")
_ON_Z = ("first_state.", "latent_skip.")
_UNSEEN = ("encoder_max_pooling", "attention_heads")  # settings of an encoder that its weights do not show
_PREFIX, _INPUTS = "decoder.", "lstm.weight_ih_l0"  # the one weight that is wider with z, which stands behind the word


def start_from_language_model(model: TextVAE, path: str) -> None:
    """Copy a ``text_lm_lstm`` into the decoder of *model*; every weight on z becomes 0.

    So p(x|z) is the language model's p(x) whatever z is, until the decoder learns to read it. Bit for bit, where the
    matrix products of the two widths add up their terms in the same order (they do at the paper's sizes).

    Args:
        model: a ``text_vae_lstm`` (any latent size) of the same sizes and vocabulary.
        path: checkpoint of the language model.

    Raises:
        AMIError: not a checkpoint of a ``text_lm_lstm``, or one of other sizes or another vocabulary.
    """
    state = read_checkpoint(path, FLAG)
    settings = part_of(state, "model")
    weights = {k[len(_PREFIX) :]: v for k, v in state["model"].items() if k.startswith(_PREFIX)}
    if settings.get("latent_dim") != 0 or _INPUTS not in weights:
        name = architecture(settings)
        raise AMIError(f"{FLAG} {path} is of the model {name!r}: it takes a checkpoint of --arch text_lm_lstm")
    own = dict(model.decoder.named_parameters())
    _check_sizes(weights, own, model.latent_dim, path)
    with torch.no_grad():
        for key, value in own.items():
            if key.startswith(_ON_Z):
                value.zero_()
            elif key == _INPUTS:
                value.zero_()[:, : weights[key].size(1)] = weights[key]
            else:
                value.copy_(weights[key])
    logger.info("the decoder starts as the language model %s", path)


def start_from_encoder(model: TextVAE, path: str, settings: Union[TextVAEModelConfig, Arguments]) -> None:
    """Copy encoder and posterior heads of another text VAE into *model* (Li et al. 2019); the rest stays as it is.

    With ``--share-word-vectors`` its word vectors become the decoder's as well.

    Args:
        model: a text VAE with an encoder of the same kind and sizes, and the same vocabulary.
        path: checkpoint of the other one, whatever its decoder.
        settings: of *model*.

    Raises:
        AMIError: not a checkpoint of a text VAE, or one of another encoder or another vocabulary.
    """
    state = read_checkpoint(path, ENCODER_FLAG)
    saved = part_of(state, "model")
    weights = {key: value for key, value in state["model"].items() if key.startswith(_ENCODER)}
    if "posterior_heads.weight" not in weights:
        name = architecture(saved)
        raise AMIError(f"{ENCODER_FLAG} {path} is of the model {name!r}: it takes a checkpoint of a text VAE")
    own = {k: v for k, v in model.named_parameters(remove_duplicate=False) if k.startswith(_ENCODER)}
    _check_words(weights, own, ENCODER_FLAG, path)
    shapes, wanted = ({key: tuple(value.shape) for key, value in found.items()} for found in (weights, own))
    if {key: shapes.get(key) for key in wanted} != wanted:
        raise AMIError(
            f"{ENCODER_FLAG} {path} has another encoder: give this run its sizes (--latent-dim, --embed-dim, "
            "--hidden-size or --ffn-dim, --num-layers) and its --encoder-bidirectional"
        )
    for name in _UNSEEN:
        before, now = saved.get(name) or 0, getattr(settings, name, None) or 0
        if str(before) != str(now):
            flag = "--" + name.replace("_", "-")
            raise AMIError(f"{ENCODER_FLAG} {path} was trained with {flag} {before}, this run has {now}: pass the same")
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(weights[key])
    logger.info("the encoder starts as that of %s", path)


def _check_words(weights: Dict[str, Tensor], own: Dict[str, Tensor], flag: str, path: str) -> None:
    have, wanted = (
        next((value.size(0) for key, value in found.items() if key.endswith("embed_tokens.weight")), 0)
        for found in (weights, own)
    )
    if have != wanted:
        raise AMIError(
            f"{flag} {path} knows {have} symbols, the dictionary of this data has {wanted}: train it on the same "
            "binary data (or --srcdict of its dict.txt in fairseq-preprocess)"
        )


def _check_sizes(weights: Dict[str, Tensor], own: Dict[str, Tensor], latent_dim: int, path: str) -> None:
    _check_words(weights, own, FLAG, path)
    shapes = {key: tuple(value.shape) for key, value in own.items() if not key.startswith(_ON_Z)}
    shapes[_INPUTS] = (shapes[_INPUTS][0], shapes[_INPUTS][1] - latent_dim)
    if shapes != {key: tuple(value.shape) for key, value in weights.items()}:
        raise AMIError(
            f"{FLAG} {path} is of another size: give this run its --embed-dim, --hidden-size and --num-layers"
        )
