"""The settings of the whole run that the task has to know, and which of them cannot work."""

from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional

from omegaconf import II, DictConfig, OmegaConf

from fairseq_ami.errors import AMIError
from fairseq_ami.training.refused import REFUSED, Rule, refuse


@dataclass
class RunSettings:
    """Interpolated from the rest of fairseq's configuration; none of them is a flag of the task."""

    seed: int = II("common.seed")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    tpu: bool = II("common.tpu")
    amp: bool = II("common.amp")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    memory_efficient_bf16: bool = II("common.memory_efficient_bf16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    distributed_world_size: int = II("distributed_training.distributed_world_size")
    ddp_backend: str = II("distributed_training.ddp_backend")
    zero_sharding: str = II("distributed_training.zero_sharding")
    use_bmuf: bool = II("optimization.use_bmuf")
    train_subset: str = II("dataset.train_subset")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")
    continue_once: Optional[str] = II("checkpoint.continue_once")
    reset_optimizer: bool = II("checkpoint.reset_optimizer")
    no_save: bool = II("checkpoint.no_save")
    no_save_optimizer_state: bool = II("checkpoint.no_save_optimizer_state")


OF_DECODING = ("bpe", "tokenizer")  # sections that no training reads


def check_complete(cfg: DictConfig) -> None:
    """Refuse a configuration whose file leaves something to the command line (``???``) that was not given there.

    Args:
        cfg: settings of a task, inside fairseq's whole configuration or alone.

    Raises:
        AMIError: with everything that is open.
    """
    parent = cfg._get_parent() if isinstance(cfg, DictConfig) else None
    whole: Any = {} if parent is None else OmegaConf.to_container(parent, resolve=False)
    missing = sorted(_open_places({name: part for name, part in whole.items() if name not in OF_DECODING}))
    if getattr(cfg, "data", "") is None:  # fairseq's own default takes the place of ???
        missing.append("task.data")
    if missing:
        raise AMIError(
            f"the configuration leaves open {', '.join(missing)}: give each on the command line of hydra, "
            f"as {missing[0]}=VALUE"
        )


def _open_places(section: Dict[str, Any], place: str = "") -> Iterator[str]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _open_places(value, f"{place}{name}.")
        elif value == "???":
            yield f"{place}{name}"


def check_settings(cfg: DictConfig, *more: Dict[str, Rule]) -> None:
    """Refuse what would train wrongly without saying so.

    Args:
        cfg: settings of a task, inside fairseq's whole configuration.
        more: tables of what only this task refuses.

    Raises:
        AMIError: with what to pass instead.
    """
    if cfg.bf16 and cfg.tpu:
        raise AMIError(
            "--bf16 on the plain command line makes fairseq look for a TPU: use fairseq-hydra-train with "
            "common.bf16=true, or --fp16 --fp16-no-flatten-grads"
        )
    if cfg.amp:
        raise AMIError("--amp cannot step one player at a time: use --fp16 --fp16-no-flatten-grads")
    if cfg.memory_efficient_fp16 or cfg.memory_efficient_bf16:
        raise AMIError(
            "--memory-efficient-fp16 and -bf16 have no float32 weights to clip and cannot resume: use --fp16 "
            "--fp16-no-flatten-grads"
        )
    if cfg.fp16 and not cfg.fp16_no_flatten_grads:
        raise AMIError("--fp16 mixes the players in one flat tensor: pass --fp16-no-flatten-grads as well")
    if cfg.use_bmuf:
        raise AMIError("--use-bmuf averages whole models: it cannot train players that take turns")
    if cfg.zero_sharding != "none":
        raise AMIError("--zero-sharding is not supported with ami_phased: leave it at none")
    if cfg.distributed_world_size > 1 and cfg.ddp_backend not in ("legacy_ddp", "no_c10d"):
        raise AMIError(
            f"--ddp-backend {cfg.ddp_backend} expects every network in every update: with several workers pass "
            "--ddp-backend legacy_ddp"
        )
    if cfg.no_save_optimizer_state and not cfg.no_save:
        raise AMIError(
            "--no-save-optimizer-state would start every resume at update 0, with the pretraining and noise stages "
            "again: leave it out (fairseq-ami export writes small checkpoints)"
        )
    refuse(cfg, REFUSED, *more)
