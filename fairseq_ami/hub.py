"""Loading trained pairs and text VAEs from Python and ``torch.hub``.

What can be done with them stands in ``hub_interface.py`` and ``vae_interface.py`` of ``tools/sharing``.
"""

import os
from typing import Any, Dict, Optional, Tuple

from fairseq import hub_utils

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing.archives import unpacked
from fairseq_ami.tools.sharing.hub_interface import AMIHubInterface, Score
from fairseq_ami.tools.sharing.register import located
from fairseq_ami.tools.sharing.states import check_translates, is_pair, languages, languages_of_task, pair_class
from fairseq_ami.tools.sharing.text_interface import TextInterface
from fairseq_ami.tools.sharing.vae_interface import TextVAEInterface, locate

__all__ = [
    "AMIHubInterface",
    "Score",
    "TextInterface",
    "TextVAEInterface",
    "any_network",
    "from_pretrained",
    "text_vae",
]


def from_pretrained(
    model_name_or_path: str, checkpoint_file: str = "model.pt", data_name_or_path: str = ".", **kwargs: Any
) -> AMIHubInterface:
    """Load a pair.

    Args:
        model_name_or_path: an exported folder or ``.tar.gz``, a checkpoint file of a training run, or the name of a
            network in the register (``tools/sharing/register.json``).
        checkpoint_file: name of the checkpoint in the folder.
        data_name_or_path: folder of the dictionaries; by default the exported folder, or for a single file
            the data that it was trained on.
        kwargs: settings that overrule those of the checkpoint, as fairseq's ``from_pretrained`` takes them
            (``bpe="subword_nmt"``, ``bpe_codes=...``, ``tokenizer="moses"``, ``source_lang``, ...).

    Raises:
        AMIError: missing or damaged files, or a checkpoint that is not of a pair.
    """
    loaded, _ = _load(str(model_name_or_path), checkpoint_file, data_name_or_path, kwargs, pairs_only=True)
    return AMIHubInterface(loaded["args"], loaded["task"], loaded["models"])


def any_network(
    model_name_or_path: str, checkpoint_file: str = "model.pt", data_name_or_path: str = ".", **kwargs: Any
) -> TextInterface:
    """Load a pair, or a single translation network of fairseq; the arguments are those of :func:`from_pretrained`.

    Raises:
        AMIError: missing or damaged files, or a checkpoint that does not translate.
    """
    loaded, pair = _load(str(model_name_or_path), checkpoint_file, data_name_or_path, kwargs, pairs_only=False)
    return (AMIHubInterface if pair else TextInterface)(loaded["args"], loaded["task"], loaded["models"])


def text_vae(model_name_or_path: str, data_name_or_path: Optional[str] = None) -> TextVAEInterface:
    """Load a text VAE.

    Args:
        model_name_or_path: an exported folder or ``.tar.gz``, a checkpoint file of a training run, or the name of a
            network in the register.
        data_name_or_path: folder of the dictionary, for text that is tokenised already; by default that of the export,
            which brings its tokenizer, or the data of the training.

    Raises:
        AMIError: missing or damaged files, or a checkpoint that is not of a text VAE.
    """
    return TextVAEInterface(locate(str(model_name_or_path), data_name_or_path))


def _load(path: str, checkpoint_file: str, data: str, kwargs: Dict[str, Any], pairs_only: bool) -> Tuple[Any, bool]:
    """What fairseq's ``from_pretrained`` gives, and whether it is of a pair."""
    path = located(path)
    if path.endswith(".pt"):
        path, checkpoint_file = os.path.split(os.path.abspath(path))
    path = unpacked(path)
    for name in checkpoint_file.split(os.pathsep):
        file = os.path.join(path, name)
        state = read_checkpoint(file, "model", lazily=True)
        pair = pairs_only or is_pair(state)
        (pair_class if pair else check_translates)(state, file)
    task = part_of(state, "task")
    if data == "." and task.get("data") and task["data"] != ".":
        data = os.path.abspath(task["data"].split(os.pathsep)[0])  # a training run's own checkpoint
    folder = os.path.join(path, data)
    names = languages(state, "forward") if pair else languages_of_task(task, folder, file)
    for key, language in zip(("source_lang", "target_lang"), names):
        kwargs.setdefault(key, language)  # fairseq stores languages that it inferred as None
    for language in (kwargs["source_lang"], kwargs["target_lang"]):
        if not os.path.isfile(os.path.join(folder, f"dict.{language}.txt")):
            raise AMIError(
                f"there is no dict.{language}.txt in {folder}: pass data_name_or_path=FOLDER (--data FOLDER)"
            )
    return hub_utils.from_pretrained(path, checkpoint_file, os.path.abspath(folder), **kwargs), pair
