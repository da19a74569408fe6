"""Reading checkpoints: safely, with messages that say what to do.

Nothing here builds a network; see ``models/paired.py`` for that.
"""

import argparse
import logging
import os
import pickle
import shutil
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf
from omegaconf.base import ContainerMetadata, Metadata

from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole

logger = logging.getLogger(__name__)


def allow_checkpoint_classes() -> None:
    """Let ``torch.load(weights_only=True)`` read the few plain classes that fairseq stores.

    ``argparse.Namespace`` holds the settings of a legacy architecture; the numpy ones are the BLEU
    counts that ``--eval-bleu`` leaves in the meters. Everything else stays refused.
    """
    reconstruct: Any = np.zeros(1).__reduce__()[0]
    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            np.ndarray,
            np.dtype,
            type(np.dtype(np.int64)),
            type(np.dtype(np.float64)),
            (reconstruct, "numpy.core.multiarray._reconstruct"),
            (reconstruct, "numpy._core.multiarray._reconstruct"),
        ]
    )
    # a resume with several workers: the first one sends what it read, settings as omegaconf's containers
    torch.serialization.add_safe_globals(
        [
            DictConfig,
            ListConfig,
            AnyNode,
            Metadata,
            ContainerMetadata,
            (Any, "typing.Any"),
            defaultdict,
            distributed_utils._TensorPlaceholder,
            *(bool, int, float, str, list, dict),
        ]
    )


# what torch's messages say when a pickle asks for a class or a function that is not allowed
_REFUSALS = ("GLOBAL", "allowlisted", "unrecognized function")


def read_checkpoint(path: str, what: str = "checkpoint", lazily: bool = False) -> Dict[str, Any]:
    """The contents of a fairseq checkpoint, on the CPU.

    Args:
        path: the file.
        what: what the user calls it, for messages.
        lazily: map the file instead of reading all tensors.

    Raises:
        AMIError: missing, damaged, not a checkpoint of fairseq, or a pickle that wants to run code.
    """
    if not os.path.isfile(path):
        raise AMIError(f"{what}: there is no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily and zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle can fail in any way: index, struct, assertion errors were seen
        if isinstance(error, pickle.UnpicklingError) and any(word in str(error) for word in _REFUSALS):
            raise AMIError(
                f"{what}: {path} was refused: it holds more than weights and plain settings, and loading it could "
                f"run code. Do not load it unless you trust where it comes from ({first_line(error)})"
            ) from error
        reason = type(error).__name__ if isinstance(error, pickle.UnpicklingError) else first_line(error)
        raise AMIError(f"{what}: {path} cannot be read; it may be truncated or damaged ({reason})") from error
    if not isinstance(state, dict) or "model" not in state or not (state.get("cfg") or state.get("args")):
        raise AMIError(f"{what}: {path} is not a fairseq checkpoint (no model or no settings in it)")
    return state


def first_line(error: BaseException) -> str:
    text = [line for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in text if "GLOBAL" in line or "global" in line]
    return (wanted or text or [type(error).__name__])[0].strip()[:200]


def part_of(state: Dict[str, Any], name: str) -> Dict[str, Any]:
    """The ``model``, ``task``, ... settings of a checkpoint as a plain dict, whichever fairseq wrote it."""
    if state.get("cfg"):
        part = state["cfg"][name]
        if OmegaConf.is_config(part):
            part = OmegaConf.to_container(part)
    else:
        part = state["args"]
    return dict(vars(part)) if isinstance(part, argparse.Namespace) else dict(part or {})


def architecture(settings: Mapping[str, Any]) -> Optional[str]:
    """fairseq's name of the architecture, from the settings of a model; some versions leave one of the two out."""
    return settings.get("arch") or settings.get("_name")


def model_class(settings: Mapping[str, Any]) -> Any:
    """The registered class of a model, from its settings; None if it is unknown here."""
    name = architecture(settings)
    return ARCH_MODEL_REGISTRY.get(name) or MODEL_REGISTRY.get(name)


def languages_of(settings: Mapping[str, Any]) -> Dict[str, List[str]]:
    """What the ``forward`` and the ``backward`` network of a pair read and write, from the pair's settings.

    The backward network has languages of its own in dialogue. Without them they are the pair's, swapped.
    """
    pair = list(settings["pair_languages"])
    return {"forward": pair, "backward": list(settings.get("backward_languages") or pair[::-1])}


# ---------------------------------------------------------------------- resuming


def is_readable(path: str) -> bool:
    """Whether *path* is a whole archive: a truncated one has lost the table at its end."""
    return os.path.isfile(path) and zipfile.is_zipfile(path)


def newest_readable(folder: str, but: str, suffix: str = "") -> Optional[str]:
    """The newest whole checkpoint in *folder* whose name ends with *suffix*, leaving out the file *but*."""
    files = [p for p in Path(folder).glob(f"checkpoint*{suffix}.pt") if str(p) != but and is_readable(str(p))]
    return str(max(files, key=lambda p: p.stat().st_mtime)) if files else None


def restore_path(
    save_dir: str, restore_file: str, suffix: str = "", continue_once: Optional[str] = None
) -> Optional[str]:
    """The checkpoint from which fairseq is going to resume, or None.

    fairseq writes ``checkpoint_last.pt`` as a plain copy: a kill in the middle leaves half a file. Then
    the newest whole checkpoint takes its place, and the half one is kept beside it.

    Args:
        save_dir, restore_file, suffix, continue_once: ``--save-dir``, ``--restore-file``, ``--checkpoint-suffix`` and
            ``--continue-once``.

    Raises:
        AMIError: a file that was named is not there (fairseq would start a new run), or the file is damaged and no
            other can stand in.
    """
    path, flag = _resumed_file(save_dir, restore_file, suffix, continue_once)
    if not os.path.exists(path):
        if flag is not None:
            raise AMIError(f"{flag}: there is no file {path}. Name a checkpoint, or leave {flag} out for a new run")
        return None
    if is_readable(path):
        return path
    other = newest_readable(save_dir, path, suffix) if flag is None else None
    if other is None:
        raise AMIError(
            f"{path} is truncated or damaged, and no other checkpoint in {save_dir} can be read. Move it away to "
            "start again, or name a whole checkpoint with --restore-file"
        )
    os.replace(path, path + ".damaged")
    with whole(path) as temporary:
        shutil.copyfile(other, temporary)
    logger.warning("%s was damaged (kept as %s.damaged): resuming from %s", path, path, other)
    return path


def _resumed_file(
    save_dir: str, restore_file: str, suffix: str, continue_once: Optional[str]
) -> Tuple[str, Optional[str]]:
    """Where fairseq looks for a checkpoint, and the option that named it; None for the last one of the run itself."""
    if restore_file != "checkpoint_last.pt":
        return restore_file.replace(".pt", suffix + ".pt"), "--restore-file"
    path = os.path.join(save_dir, f"checkpoint_last{suffix}.pt")
    if continue_once is None or os.path.exists(path):
        return path, None
    return continue_once, "--continue-once"
