"""The command lines that the tests have in common."""

import json
from pathlib import Path
from typing import Any, Dict, List

from functional.commands import PLUGIN, Result, run


def _both_sides(options: str) -> List[str]:
    return [word.replace("SIDE", side) for side in ("encoder", "decoder") for word in options.split()]


TRANSFORMER_SIZES = _both_sides("--SIDE-embed-dim 16 --SIDE-ffn-embed-dim 16 --SIDE-layers 1 --SIDE-attention-heads 2")
LSTM_SIZES = [*_both_sides("--SIDE-embed-dim 16 --SIDE-hidden-size 16"), "--decoder-out-embed-dim", "16"]
TRANSFORMER = ["--arch", "ami_transformer_tiny", *TRANSFORMER_SIZES]
LSTM = ["--arch", "ami_lstm_tiny", *LSTM_SIZES]
NETWORKS = {"transformer": TRANSFORMER, "lstm": LSTM}

LOGGING = ["--log-format", "json", "--log-interval", "1"]
COMMON = ["--user-dir", PLUGIN, "--cpu", "--seed", "3", "--num-workers", "0", "--no-epoch-checkpoints", *LOGGING]
FP16 = ["--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", "4"]
BLEU = ["--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_b": 10}', "--eval-bleu-detok", "space"]
BEST_BLEU = [*BLEU, "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"]


def stock_args(data: Path, save_dir: Path, updates: int, *extra: Any) -> List[Any]:
    """Maximum likelihood with a stock architecture."""
    return [
        data, *COMMON, "--task", "translation", "--criterion", "cross_entropy", "--optimizer", "adam", "--lr", "0.01",
        "--batch-size", "24", "--max-update", updates, "--disable-validation", "--save-dir", save_dir, *extra,
    ]  # fmt: skip


def ami_args(data: Path, save_dir: Path, updates: int, *extra: Any, network: Any = TRANSFORMER) -> List[Any]:
    """A short run of the minimax; a later flag overrules an earlier one."""
    return [
        data, *COMMON, "--task", "ami_translation", *network, "--criterion", "ami_minimax", "--optimizer", "ami_phased",
        "--batch-size", "8", "--max-update", updates, "--disable-validation", "--save-dir", save_dir,
        "--phase-cycle", "noise=2,forward=2,backward=2", *extra,
    ]  # fmt: skip


def with_validation(args: List[Any], every: int) -> List[Any]:
    """The same run, validating every so many updates."""
    kept = [arg for arg in args if arg != "--disable-validation"]
    return [*kept, "--validate-interval-updates", every, "--validate-interval", "1000"]


def workers_args(world: int, rank: int, port: int) -> List[Any]:
    """One of several CPU workers."""
    return [
        "--distributed-world-size", world, "--distributed-rank", rank, "--distributed-no-spawn",
        "--distributed-init-method", f"tcp://127.0.0.1:{port}", "--distributed-backend", "gloo",
        "--ddp-backend", "legacy_ddp",
    ]  # fmt: skip


def hydra_args(data: Path, save_dir: Path, updates: int, network: Any = TRANSFORMER, **sections: Any) -> List[Any]:
    """The same run as :func:`ami_args` from a configuration file; *sections* add to its parts."""
    sizes = {flag[2:].replace("-", "_"): int(value) for flag, value in zip(network[2::2], network[3::2])}
    config: Dict[str, Dict[str, Any]] = {
        "common": {"user_dir": PLUGIN, "cpu": True, "seed": 3, "log_format": "json", "log_interval": 1},
        "task": {"_name": "ami_translation", "data": str(data), "phase_cycle": "noise=2,forward=2,backward=2"},
        "model": {"_name": network[1], **sizes},
        "criterion": {"_name": "ami_minimax"},
        "optimizer": {"_name": "ami_phased"},
        "lr_scheduler": {"_name": "fixed"},
        "dataset": {"batch_size": 8, "num_workers": 0, "disable_validation": True},
        "optimization": {"max_update": updates},
        "checkpoint": {"save_dir": str(save_dir), "no_epoch_checkpoints": True},
        "distributed_training": {},
    }
    for name, values in sections.items():
        config[name].update(values)
    text = "# @package _group_\n" + json.dumps(config, indent=1)  # JSON is YAML
    (save_dir / "ami.yaml").write_text(text)
    return ["--config-dir", save_dir, "--config-name", "ami"]


def hydra_workers_args(world: int, rank: int, port: int, folder: Path) -> List[Any]:
    """One of several CPU workers, and where hydra may write."""
    options = [f"hydra.run.dir={folder / f'hydra-{rank}'}"]
    if world > 1:
        flags = workers_args(world, rank, port)
        flags.insert(flags.index("--distributed-no-spawn") + 1, "true")
        pairs = zip(flags[::2], flags[1::2])
        options += [f"distributed_training.{flag[2:].replace('-', '_')}='{value}'" for flag, value in pairs]
    return options


def train(folder: Path, args: List[Any], **kwargs: Any) -> Result:
    """fairseq-train, its output in *folder*."""
    return run("train", args, folder / "train.log", **kwargs)
