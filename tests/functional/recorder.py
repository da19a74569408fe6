"""Looks into a training process: what every update did to every parameter."""

import socket
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import torch
from functional.commands import Result, start
from functional.settings import hydra_workers_args, workers_args


def record_updates(path: str) -> None:
    """Write the state after each update to *path*: phase, weights, float32 masters, who had a gradient, steps taken."""
    from fairseq.trainer import Trainer

    original, records = Trainer.train_step, []

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        update = self.get_num_updates()
        if not records:
            records.append({"phase": None, "applied": True, **_state(self)})
        out = original(self, *args, **kwargs)
        applied = self.get_num_updates() > update
        schedule = getattr(self.task, "schedule", None)  # a text VAE has none
        records.append({"phase": schedule and schedule.phase(update), "applied": applied, **_state(self)})
        torch.save(records, path)
        return out

    Trainer.train_step = train_step


def _state(trainer: Any) -> Dict[str, Any]:
    inner = getattr(trainer.optimizer, "fp32_optimizer", trainer.optimizer)
    named = list(trainer._model.named_parameters())  # not the wrapper around it that exchanges gradients
    steps = {player: opt.state_dict()["state"].get(0, {}).get("step", 0) for player, opt in inner.optimizers.items()}
    return {
        "weights": {name: p.detach().clone() for name, p in named},
        "masters": {player: [p.detach().clone() for p in opt.params] for player, opt in inner.optimizers.items()},
        "gradients": {name for name, p in named if p.grad is not None and bool(p.grad.any())},
        "steps": steps,
    }


def recorder(path: Path) -> Callable[[], None]:
    return partial(record_updates, str(path))


def read_records(path: Path) -> List[Dict[str, Any]]:
    return torch.load(path, weights_only=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_workers(folder: Path, args: Sequence[Any], world: int, command: str = "train") -> List[Result]:
    """fairseq-train (or -hydra-train) with *world* workers, each recorded in ``updates.<rank>.pt``."""
    port, running = free_port(), []
    for rank in range(world):
        options = [] if world == 1 else workers_args(world, rank, port)
        if command == "hydra-train":
            options = hydra_workers_args(world, rank, port, folder)
        hook = recorder(folder / f"updates.{rank}.pt")
        running.append(start(command, [*args, *options], folder / f"train.{rank}.log", hook=hook))
    results = [one.wait() for one in running]
    for result in results:
        assert result.code == 0, result.text[-4000:]
    return results


def player_of(name: str) -> str:
    """The player that owns a parameter, by its name."""
    owners = {"forward_model": "forward", "backward_model": "backward", "infomax": "backward", "latent_noise": "noise"}
    part = name.split(".")[0]
    return owners.get(part, part)  # a discriminator and a baseline are players by their own names
