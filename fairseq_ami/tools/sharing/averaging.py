"""The mean of several checkpoints' parameters (Polyak averaging over the end of a run)."""

import logging
import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError

logger = logging.getLogger(__name__)

_NAMES = {"epoch": re.compile(r"checkpoint(\d+)\.pt"), "update": re.compile(r"checkpoint_\d+_(\d+)\.pt")}

_WRITTEN_BY = {
    "epoch": "writes one after each epoch unless --no-epoch-checkpoints is given, and keeps --keep-last-epochs of them",
    "update": "writes one every --save-interval-updates N, and keeps --keep-interval-updates of them",
}


def last_checkpoints(folder: str, kind: str, count: int, upper_bound: Optional[int] = None) -> List[str]:
    """The last *count* checkpoints of a run, oldest first.

    Args:
        folder: the ``--save-dir``.
        kind: ``epoch`` (checkpoint7.pt) or ``update`` (checkpoint_2_500.pt).
        count: how many.
        upper_bound: leave out those of a later epoch or update.

    Raises:
        AMIError: no folder, or fewer checkpoints.
    """
    if count < 1:
        raise AMIError(f"{count} checkpoints cannot be averaged: ask for at least one")
    if not os.path.isdir(folder):
        raise AMIError(f"there is no folder {folder}: with --num-{kind}-checkpoints, --inputs is the --save-dir")
    found = _numbered(folder, kind, upper_bound)
    if len(found) < count:
        other = next(name for name in _NAMES if name != kind)
        others = len(_numbered(folder, other, upper_bound))
        way_out = f" It has {others} {other} checkpoints: --num-{other}-checkpoints {others}." if others else ""
        raise AMIError(
            f"{folder} holds {len(found)} {kind} checkpoints, {count} were asked for.{way_out} fairseq-train "
            f"{_WRITTEN_BY[kind]}"
        )
    return [path for _, path in found[-count:]]


def _numbered(folder: str, kind: str, upper_bound: Optional[int]) -> List[Tuple[int, str]]:
    """Epochs or updates, and the checkpoints after them, in order."""
    found = []
    for path in Path(folder).iterdir():
        match = _NAMES[kind].fullmatch(path.name)
        if match and (upper_bound is None or int(match.group(1)) <= upper_bound):
            found.append((int(match.group(1)), str(path)))
    return sorted(found)


def average_checkpoints(paths: Sequence[str]) -> Dict[str, Any]:
    """A checkpoint with the mean parameters of *paths* and the settings of the last one.

    Sums are kept in float32 (float64 for double parameters), means in the parameters' own type. One
    checkpoint is in memory at a time. What is no floating-point number is the last one's. The optimizer
    state is dropped.

    Args:
        paths: checkpoints of one network, of any fairseq model.

    Raises:
        AMIError: none given, one that cannot be read, or networks that differ.
    """
    if not paths:
        raise AMIError("no checkpoints to average")
    sums: Dict[str, Tensor] = {}
    first: Dict[str, Any] = {}
    for path in paths:
        state = read_checkpoint(path, "checkpoint to average", lazily=True)
        description = _description(state)
        if not first:
            first = description
        _check_same(first, description, paths[0], path)
        for name, value in state["model"].items():
            if value.is_floating_point():
                wide = value.to(torch.float64 if value.dtype == torch.float64 else torch.float32)
                sums[name] = sums[name].add_(wide) if name in sums else wide.clone()
        logger.info("read %s", path)
    return _without_training_state(state, _means(sums, state["model"], len(paths)))


def _means(sums: Dict[str, Tensor], last: Dict[str, Tensor], count: int) -> Dict[str, Tensor]:
    """Tensors that shared memory in *last* share it again."""
    result: Dict[str, Tensor] = {}
    shared: Dict[Tuple[Any, ...], Tensor] = {}
    for name, value in last.items():
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else (name,)
        if place not in shared:
            shared[place] = sums[name].div_(count).to(value.dtype) if name in sums else value.clone()
        result[name] = shared[place]
    return result


def _description(state: Dict[str, Any]) -> Dict[str, Any]:
    """What has to agree: languages, and name, shape and kind of each tensor."""
    task, model = part_of(state, "task"), part_of(state, "model")
    languages = model.get("pair_languages") or [task.get("source_lang"), task.get("target_lang")]
    tensors = {name: (tuple(value.shape), value.is_floating_point()) for name, value in state["model"].items()}
    return {"languages": list(languages), "tensors": tensors}


def _check_same(first: Dict[str, Any], other: Dict[str, Any], first_path: str, path: str) -> None:
    """Refuse another network: its mean with the first would be noise."""
    differing = sorted(set(first["tensors"]) ^ set(other["tensors"]))
    if differing:
        owner = first_path if differing[0] in first["tensors"] else path
        raise AMIError(
            f"{path} is another architecture than {first_path}: only {owner} has a parameter {differing[0]} "
            f"({len(differing)} differ)"
        )
    for name, have in other["tensors"].items():
        want = first["tensors"][name]
        if have != want:
            raise AMIError(
                f"{path} is of another size than {first_path}: {name} has the shape {list(have[0])} instead of "
                f"{list(want[0])}"
            )
    if None not in first["languages"] + other["languages"] and first["languages"] != other["languages"]:
        was, now = (" -> ".join(each["languages"]) for each in (first, other))
        raise AMIError(f"{path} translates {now}, {first_path} {was}: they cannot be averaged")


def _without_training_state(state: Dict[str, Any], weights: Dict[str, Tensor]) -> Dict[str, Any]:
    """*state* with other weights, and without what belongs to its own training."""
    kept = {key: value for key, value in state.items() if key not in ("model", "last_optimizer_state", "extra_state")}
    extra = state.get("extra_state") or {}
    kept["extra_state"] = {key: extra[key] for key in ("train_iterator", "val_loss", "epoch") if key in extra}
    kept["model"] = weights
    kept["last_optimizer_state"] = None
    return kept
