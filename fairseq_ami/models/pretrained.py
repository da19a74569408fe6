"""Taking over stock fairseq networks: their settings, their weights, and what does not fit."""

import argparse
import logging
from typing import Any, Dict, List, Optional, Type

from fairseq.models import MODEL_REGISTRY

from fairseq_ami.checkpoints import architecture, first_line, model_class, part_of, read_checkpoint
from fairseq_ami.choices import DIRECTIONS
from fairseq_ami.errors import AMIError
from fairseq_ami.models.explicit_settings import FREE_SETTINGS, explicit
from fairseq_ami.types import Network

logger = logging.getLogger(__name__)


def setting_names(network_class: Type[Network]) -> List[str]:
    """Names of the settings that *network_class* reads."""
    parser = argparse.ArgumentParser(add_help=False)
    network_class.add_args(parser)
    return [action.dest for action in parser._actions] + ["max_source_positions", "max_target_positions"]


def network_settings(
    given: Dict[str, Any], path: Optional[str], network_class: Type[Network], direction: str
) -> Dict[str, Any]:
    """Settings of one network of the pair: its checkpoint's, or the command line's without one.

    Args:
        given: the pair's settings.
        path: a checkpoint of the network, or None.
        network_class: the fairseq model.
        direction: ``forward`` or ``backward``.

    Raises:
        AMIError: the checkpoint is of another model, or the user asked for another size.
    """
    names = setting_names(network_class)
    settings = {name: given[name] for name in names if name in given}
    if path:
        stored = part_of(read_checkpoint(path, f"--{direction}-checkpoint", lazily=True), "model")
        _check_architecture(stored, path, network_class, direction)
        asked = {k: v for k, v in explicit(given, names).items() if v is not False and k in stored}
        for name, value in asked.items():
            if name in FREE_SETTINGS or name in ("max_source_positions", "max_target_positions"):
                continue
            if str(stored[name]) != str(value):
                flag = "--" + name.replace("_", "-")
                raise AMIError(
                    f"--{direction}-checkpoint {path} was trained with {flag} {stored[name]}, but {flag} {value} was "
                    f"given. Leave {flag} out: the architecture is taken from the checkpoint"
                )
        settings = {name: stored[name] for name in names if name in stored}
        settings.update({name: value for name, value in asked.items() if name in FREE_SETTINGS})
        if settings.get("quant_noise_scalar"):  # it adds no weights: those that it trained work without
            logger.warning("--%s-checkpoint %s: --quant-noise-scalar is not taken over from it", direction, path)
            settings["quant_noise_scalar"] = 0
        # its word vectors are among the weights; the files that they came from may be gone
        settings.update({name: None for name in ("encoder_embed_path", "decoder_embed_path") if name in settings})
    settings["criterion"] = ""  # fairseq's LSTM looks at it
    return settings


def check_quant_noise(pq: Optional[float], scalar: Optional[float] = 0, checkpoint: Optional[str] = None) -> None:
    """Refuse fairseq's quantisation noise: every forward pass would be that of another network.

    T' would be scored by another policy than drew it, and ``pq`` overwrites the weights, even those of idle players.

    Args:
        pq: ``--quant-noise-pq``, of a pair or of one of its networks.
        scalar: ``--quant-noise-scalar`` of a pair; in a network's own settings it does nothing.
        checkpoint: where the network comes from, or None.

    Raises:
        AMIError: with the flag, and the checkpoint that was trained with it.
    """
    for flag, value in (("--quant-noise-pq", pq), ("--quant-noise-scalar", scalar)):
        if value:
            of = f" (of {checkpoint})" if checkpoint else ""
            raise AMIError(
                f"{flag} {value}{of}: quantisation noise would change the networks between drawing and scoring a "
                f"sample. Leave {flag} out, and start from checkpoints that were trained without it"
            )


def _check_architecture(stored: Dict[str, Any], path: str, network_class: Type[Network], direction: str) -> None:
    if model_class(stored) is not network_class:
        wanted = next(key for key, value in MODEL_REGISTRY.items() if value is network_class)
        raise AMIError(
            f"--{direction}-checkpoint {path} is of the architecture {architecture(stored)!r}; this --arch needs a "
            f"stock fairseq {wanted!r} (any of its sizes)"
        )


def load_network_weights(network: Network, path: str, direction: str) -> None:
    """Copy the weights of a stock checkpoint into *network*.

    Raises:
        AMIError: the weights do not fit, most often another dictionary.
    """
    weights = read_checkpoint(path, f"--{direction}-checkpoint")["model"]
    for side in ("encoder", "decoder"):
        key = f"{side}.embed_tokens.weight"
        have, want = weights[key].size(0), getattr(network, side).embed_tokens.weight.size(0)
        if have != want:
            raise AMIError(
                f"--{direction}-checkpoint {path}: its {side} knows {have} symbols, the dictionary of this data has "
                f"{want}. Binarise the data with the dictionary that the checkpoint was trained with "
                "(fairseq-preprocess --srcdict ... --tgtdict ...)"
            )
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise AMIError(f"--{direction}-checkpoint {path} does not fit its own settings: {first_line(error)}") from error


def check_languages(path: str, direction: str, wanted: List[Optional[str]]) -> None:
    """Refuse a checkpoint that says it was trained in the other direction.

    Args:
        path: of the checkpoint.
        direction: ``forward`` or ``backward`` of a pair, or ``generator``.
        wanted: what this network of the run reads and writes.

    Raises:
        AMIError: its source and target languages are others, most often the wrong way round.
    """
    task = part_of(read_checkpoint(path, f"--{direction}-checkpoint", lazily=True), "task")
    stored = [task.get("source_lang"), task.get("target_lang")]
    if None not in stored and None not in wanted and stored != wanted:
        exchanged = " Are --forward-checkpoint and --backward-checkpoint exchanged?" if direction in DIRECTIONS else ""
        raise AMIError(
            f"--{direction}-checkpoint {path} translates {stored[0]} -> {stored[1]}; the {direction} network of this "
            f"run is {wanted[0]} -> {wanted[1]}.{exchanged}"
        )
