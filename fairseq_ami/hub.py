"""Loading a trained pair from Python and ``torch.hub``; what can be done with it stands in ``hub_interface.py``."""

import os
from typing import Any

from fairseq import hub_utils

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing.archives import unpacked
from fairseq_ami.tools.sharing.hub_interface import AMIHubInterface, Score
from fairseq_ami.tools.sharing.states import languages, pair_class

__all__ = ["AMIHubInterface", "Score", "from_pretrained"]


def from_pretrained(
    model_name_or_path: str, checkpoint_file: str = "model.pt", data_name_or_path: str = ".", **kwargs: Any
) -> AMIHubInterface:
    """Load a pair.

    Args:
        model_name_or_path: an exported folder or ``.tar.gz``, or a checkpoint file of a training run.
        checkpoint_file: name of the checkpoint in the folder.
        data_name_or_path: folder of the dictionaries; by default the exported folder, or for a single file
            the data that it was trained on.
        kwargs: settings that overrule those of the checkpoint, as fairseq's ``from_pretrained`` takes them
            (``bpe="subword_nmt"``, ``bpe_codes=...``, ``tokenizer="moses"``, ``source_lang``, ...).

    Raises:
        AMIError: missing or damaged files, or a checkpoint that is not of a pair.
    """
    path = str(model_name_or_path)
    if not os.path.exists(path):
        raise AMIError(f"there is no model {path}")
    if path.endswith(".pt"):
        path, checkpoint_file = os.path.split(os.path.abspath(path))
    path = unpacked(path)
    for name in checkpoint_file.split(os.pathsep):
        state = read_checkpoint(os.path.join(path, name), "model", lazily=True)
        pair_class(state, os.path.join(path, name))
    task = part_of(state, "task")
    data = data_name_or_path
    if data == "." and task.get("data") and task["data"] != ".":
        data = os.path.abspath(task["data"].split(os.pathsep)[0])  # a training run's own checkpoint
    folder = os.path.join(path, data)
    for key, language in zip(("source_lang", "target_lang"), languages(state, "forward")):
        kwargs.setdefault(key, language)  # fairseq stores languages that it inferred as None
    for language in (kwargs["source_lang"], kwargs["target_lang"]):
        if not os.path.isfile(os.path.join(folder, f"dict.{language}.txt")):
            raise AMIError(f"there is no dict.{language}.txt in {folder}: pass data_name_or_path=FOLDER")
    loaded = hub_utils.from_pretrained(path, checkpoint_file, os.path.abspath(folder), **kwargs)
    return AMIHubInterface(loaded["args"], loaded["task"], loaded["models"])
