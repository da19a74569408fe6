"""A text VAE whose decoder starts as a trained language model."""

import logging
from typing import Dict

import torch
from torch import Tensor

from fairseq_ami.checkpoints import architecture, part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE

logger = logging.getLogger(__name__)

FLAG = "--language-model"
_PREFIX, _INPUTS = "decoder.", "lstm.weight_ih_l0"  # the one weight that is wider with z, which stands behind the word


def start_from_language_model(model: TextVAE, path: str) -> None:
    """Copy a ``text_lm_lstm`` into the decoder of *model*; every weight on z becomes 0.

    So p(x|z) is the language model's p(x) whatever z is, until the decoder learns to read it.

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
            if key.startswith("first_state."):
                value.zero_()
            elif key == _INPUTS:
                value.zero_()[:, : weights[key].size(1)] = weights[key]
            else:
                value.copy_(weights[key])
    logger.info("the decoder starts as the language model %s", path)


def _check_sizes(weights: Dict[str, Tensor], own: Dict[str, Tensor], latent_dim: int, path: str) -> None:
    words, wanted = weights["embed_tokens.weight"].size(0), own["embed_tokens.weight"].size(0)
    if words != wanted:
        raise AMIError(
            f"{FLAG} {path} knows {words} symbols, the dictionary of this data has {wanted}: train it on the same "
            "binary data (or --srcdict of its dict.txt in fairseq-preprocess)"
        )
    shapes = {key: tuple(value.shape) for key, value in own.items() if not key.startswith("first_state.")}
    shapes[_INPUTS] = (shapes[_INPUTS][0], shapes[_INPUTS][1] - latent_dim)
    if shapes != {key: tuple(value.shape) for key, value in weights.items()}:
        raise AMIError(
            f"{FLAG} {path} is of another size: give this run its --embed-dim, --hidden-size and --num-layers"
        )
