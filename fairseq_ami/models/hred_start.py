"""A dialogue model with latent variables that starts as a trained HRED."""

import logging
from typing import Any, Dict

import torch
from torch import Tensor

from fairseq_ami.checkpoints import architecture, model_class, part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.models.hred import HRED
from fairseq_ami.models.hred_config import SIZES

logger = logging.getLogger(__name__)

FLAG = "--hred-checkpoint"
# weights that are wider with a latent variable, which stands behind what they read in an HRED
_WIDER = ("decoder.first_state.weight", "decoder.lstm.weight_ih_l0", "encoder.context.gru.weight_ih_l0")
# what makes the first context of a conversation: an HRED starts from 0
_FIRST = "encoder.first_context."
_CELL = ("decoder_cell", "condition", "separate_embeddings")


def start_from_hred(model: HRED, path: str) -> None:
    """Copy an ``hred`` into *model*; every weight on a latent variable becomes 0, beside prior and posterior.

    So p(reply | history, z) is the HRED's p(reply | history) whatever z is, until the decoder learns to read it.

    Args:
        model: a :class:`fairseq_ami.models.latent_dialogue.LatentHRED` of the same sizes and vocabulary.
        path: checkpoint of the HRED.

    Raises:
        AMIError: not a checkpoint of an ``hred``, or one of other sizes or another vocabulary.
    """
    state = read_checkpoint(path, FLAG)
    settings = part_of(state, "model")
    if model_class(settings) is not HRED:
        raise AMIError(
            f"{FLAG} {path} is of the model {architecture(settings)!r}: it takes a checkpoint of --arch hred "
            "(hred_dialog, hred_park, ...)"
        )
    weights, own = state["model"], model.state_dict()
    _check(weights, own, settings, path)
    with torch.no_grad():
        for key, value in own.items():
            if key in weights:
                value.zero_()
                value[..., : weights[key].size(-1)] = weights[key]
            elif key.startswith(_FIRST):
                value.zero_()
    logger.info("the model starts as the HRED %s", path)


def _check(weights: Dict[str, Tensor], own: Dict[str, Tensor], settings: Dict[str, Any], path: str) -> None:
    table, spoken = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
    if weights[table].size(0) != own[table].size(0):
        raise AMIError(
            f"{FLAG} {path} knows {weights[table].size(0)} symbols, the dictionary of this data has "
            f"{own[table].size(0)}: train it on the same binary data"
        )
    apart = not torch.equal(weights[table], weights[spoken])
    if apart and own[table].data_ptr() == own[spoken].data_ptr():
        raise AMIError(f"{FLAG} {path} has word vectors of its own in the decoder: pass --separate-embeddings as well")
    for key, value in weights.items():
        have, want = tuple(value.shape), tuple(own[key].shape) if key in own else ()
        wider = key in _WIDER and len(have) == len(want) and have[:-1] == want[:-1] and have[-1] <= want[-1]
        if have != want and not wider:
            flags = ", ".join(
                f"--{name.replace('_', '-')} {settings[name]}" for name in (*SIZES, *_CELL) if name in settings
            )
            raise AMIError(f"{FLAG} {path} is of another size (its {key} is {have}): it was trained with {flags}")
