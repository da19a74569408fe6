"""Where the checks run: on CUDA, or with FAIRSEQ_AMI_DEVICE=cpu their logic on the CPU."""

import os
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import torch
from functional.commands import Result, start
from functional.recorder import free_port, record_updates
from functional.settings import workers_args

DEVICE = os.environ.get("FAIRSEQ_AMI_DEVICE", "cuda")
ON_CPU = DEVICE == "cpu"
FP16 = ["--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", "4"]


def here(args: Sequence[Any]) -> List[Any]:
    """The command line of a functional test, on the device."""
    return [arg for arg in args if ON_CPU or arg != "--cpu"]


def here_hydra(common: Dict[str, Any]) -> Dict[str, Any]:
    """The same for the ``common`` section of a YAML file."""
    return {**common, "cpu": ON_CPU, "fp16_no_flatten_grads": True}


def worker(backend: str, rank: int, port: int) -> List[Any]:
    """One of two workers; over gloo both share the first GPU, since nccl refuses that."""
    options = [backend if word == "gloo" else word for word in workers_args(2, rank, port)]
    return options if ON_CPU else [*options, "--device-id", rank if backend == "nccl" else 0]


def train(
    folder: Path,
    args: Sequence[Any],
    world: int = 1,
    backend: str = "gloo",
    command: str = "train",
    watch: Callable[[str], None] = record_updates,
) -> List[Result]:
    """fairseq-train on the device; *watch* writes what it sees to ``updates.<rank>.pt``."""
    port, folder = free_port(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    running = []
    for rank in range(world):
        options = [*here(args), *(worker(backend, rank, port) if world > 1 else [])]
        hook = partial(prepared, watch, str(folder / f"updates.{rank}.pt"))
        running.append(start(command, options, folder / f"train.{rank}.log", hook=hook))
    results = [one.wait() for one in running]
    for result in results:
        assert result.code == 0, result.text[-4000:]
    return results


def prepared(watch: Callable[[str], None], path: str) -> None:
    deterministic()
    watch(path)


def deterministic() -> None:
    """The same sums in the same order; without it CUDA's atomic additions differ from run to run."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def records(folder: Path, rank: int = 0) -> List[Dict[str, Any]]:
    """What the workers' updates did, on the CPU whatever device each worker had."""
    return torch.load(folder / f"updates.{rank}.pt", map_location="cpu", weights_only=False)
