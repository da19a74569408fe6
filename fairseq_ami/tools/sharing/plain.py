"""What all checkpoints to hand on have in common: fairseq's default settings, no training state, weights to store."""

from typing import Any, Dict, Tuple

import torch
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf
from torch import Tensor

from fairseq_ami.checkpoints import part_of
from fairseq_ami.errors import AMIError
from fairseq_ami.version import __version__

# the sections of fairseq's configuration that a loaded checkpoint is asked for
SECTIONS = ("common", "common_eval", "dataset", "distributed_training", "generation", "interactive")
HUB_MAX_TOKENS = 4096  # a batch of the hub interface


def default_sections(state: Dict[str, Any]) -> Dict[str, Any]:
    """fairseq's defaults for :data:`SECTIONS`, with the seed of *state*, as plain dicts."""
    structure = OmegaConf.structured(FairseqConfig())
    defaults: Any = OmegaConf.to_container(structure, resolve=True, enum_to_str=True)
    cfg = {name: defaults[name] for name in SECTIONS}
    cfg["common"]["seed"] = part_of(state, "common").get("seed", 1)
    cfg["dataset"]["max_tokens"] = HUB_MAX_TOKENS
    cfg["distributed_training"].update(distributed_world_size=1, distributed_num_procs=1)
    return cfg


def plain_checkpoint(state: Dict[str, Any], cfg: Dict[str, Any], weights: Dict[str, Tensor]) -> Dict[str, Any]:
    """A checkpoint without training state.

    Args:
        state: contents of the checkpoint that it is made from.
        cfg: its configuration, as plain dicts.
        weights: its tensors.
    """
    history = state.get("optimizer_history") or [{}]
    return {
        "args": None,
        "cfg": cfg,
        "model": weights,
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "",
                "optimizer_name": "",
                "lr_scheduler_state": {},
                "num_updates": int(history[-1].get("num_updates", 0)),
            }
        ],
        "task_state": {},
        "extra_state": {
            "train_iterator": {"epoch": 1, "iterations_in_epoch": 0},
            "written_by": f"fairseq_ami {__version__}",
        },
        "last_optimizer_state": None,
    }


def in_half_precision(weights: Dict[str, Tensor], name: str = "float16") -> Dict[str, Tensor]:
    """The weights in 16 bits; tensors that share memory still do. Whoever loads them computes in float32.

    Args:
        weights: by name.
        name: ``float16``, or ``bfloat16``, which is rougher and packs into smaller archives.

    Raises:
        AMIError: a weight that float16 cannot hold.
    """
    done: Dict[Tuple[int, Tuple[int, ...], Tuple[int, ...]], Tensor] = {}
    result, kind = {}, torch.bfloat16 if name == "bfloat16" else torch.float16
    for key_name, tensor in weights.items():
        if tensor.is_floating_point():
            key = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()))
            half = done.setdefault(key, tensor.to(kind))
            if bool((half.isinf() & ~tensor.isinf()).any()):
                raise AMIError(f"{key_name} holds a weight above 65504, the largest number of float16: store bfloat16")
            tensor = half
        result[key_name] = tensor
    return result
