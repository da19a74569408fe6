"""Checkpoints of text VAEs to hand on: what text is made with, and nothing that only training needs."""

import os
from pathlib import Path
from typing import Any, Dict, List, Mapping

from fairseq.data import Dictionary
from omegaconf import OmegaConf

from fairseq_ami.checkpoints import part_of
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing.plain import default_sections, plain_checkpoint

TASK = "text_vae"
DICTIONARY = "dict.txt"
_TRAINING_ONLY = ("critic.", "critic_words.", "bow.")  # weights of the energy function and the bag-of-words network
# settings of a model without these parts, and without the files that it started from
_WITHOUT = {
    "critic": "none", "critic_features": "encoder", "bow_hidden": 0, "encoder_checkpoint": None, "language_model": None,
}  # fmt: skip


def is_text_vae(state: Dict[str, Any]) -> bool:
    """Whether the checkpoint is of the task ``text_vae``: a text VAE, or a language model of that task."""
    task = part_of(state, "task")
    return TASK in (task.get("_name"), task.get("task"))


def text_vae_state(state: Dict[str, Any], path: str) -> Dict[str, Any]:
    """A text VAE without training state, energy function and bag-of-words network.

    Args:
        state: contents of the checkpoint.
        path: of the checkpoint, for messages.

    Raises:
        AMIError: *state* is of something else.
    """
    if not is_text_vae(state):
        raise AMIError(f"{path} is no checkpoint of the task {TASK}")
    stored = _resolved(state, "model")
    cfg = default_sections(state)
    cfg["model"] = {**stored, **{name: value for name, value in _WITHOUT.items() if name in stored}}
    cfg["task"] = {"_name": TASK, "data": ".", "seed": cfg["common"]["seed"]}
    cfg.update(_name=None, criterion=None, bpe=None, tokenizer=None)
    weights = {name: value for name, value in state["model"].items() if not name.startswith(_TRAINING_ONLY)}
    return plain_checkpoint(state, cfg, weights)


def _resolved(state: Dict[str, Any], part: str) -> Dict[str, Any]:
    """Settings without references to other parts of the configuration."""
    if not state.get("cfg"):
        return part_of(state, part)
    sections = {name: value for name, value in state["cfg"].items() if isinstance(value, Mapping)}
    resolved: Any = OmegaConf.to_container(OmegaConf.create(sections), resolve=True, enum_to_str=True)
    return dict(resolved[part])


def find_dictionary(plain: Dict[str, Any], data: str) -> List[Path]:
    """The dictionary of an exported text VAE, as a list of one.

    Raises:
        AMIError: it is missing, or has another size than the network's word vectors.
    """
    path = Path(data.split(os.pathsep)[0]) / DICTIONARY
    if not path.is_file():
        raise AMIError(f"there is no dictionary {path}: name the folder of the binarised data with --data")
    want, have = plain["model"]["decoder.embed_tokens.weight"].size(0), len(Dictionary.load(str(path)))
    if have != want:
        raise AMIError(
            f"{path} has {have} symbols, the network was trained with {want}: name the folder of its own data with "
            "--data"
        )
    return [path]
