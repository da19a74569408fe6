"""Half precision on the device: it gets where float32 gets, and an overflow costs no update of any kind."""

import math
from pathlib import Path
from typing import Any, Dict

import torch
from functional.settings import ami_args, hydra_args, with_validation
from functional.test_phases import as_config
from gpu.device import FP16, ON_CPU, here_hydra, records, train

UPDATES = 40
SETTINGS = ["--noise-updates", "2", "--phase-cycle", "noise=2,forward=10,backward=7"]
RATES = ["--forward-lr", "0.003", "--backward-lr", "0.003"]
# of a uniform guess: bits of 13 target words, nats of 20 source words, and fairseq's four symbols
CHANCE = {"nll_loss": math.log2(17), "backward_nll_real": math.log(24)}


def validated(precision: str, data: Path, folder: Path, stock: Dict[str, Path]) -> Dict[str, float]:
    """Losses of both networks on the validation set at the end of a run from the stock networks."""
    if precision == "bf16":
        folder.mkdir()
        sections = {"common": here_hydra({"bf16": True}), "task": as_config(SETTINGS), "optimizer": as_config(RATES)}
        sections["dataset"] = {"disable_validation": False, "validate_interval_updates": UPDATES}
        sections["model"] = {f"{name}_checkpoint": str(path) for name, path in stock.items()}
        args = hydra_args(data, folder, UPDATES, **sections)
        result = train(folder, [*args, f"hydra.run.dir={folder / 'hydra'}"], command="hydra-train")[0]
    else:
        names = [f"--{name}-checkpoint={path}" for name, path in stock.items()]
        args = with_validation(ami_args(data, folder, UPDATES, *SETTINGS, *RATES, *names, "--no-save"), UPDATES)
        result = train(folder, [*args, *(FP16 if precision == "fp16" else [])])[0]
    last = result.logs("valid")[-1]
    assert int(last["valid_num_updates"]) == UPDATES
    return {name: float(last[f"valid_{name}"]) for name in CHANCE}


def test_half_precision_reaches_the_result_of_float32(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """Both networks: within a twentieth of what float32 has learnt since chance."""
    runs = {name: validated(name, data, tmp_path / name, stock) for name in ("fp32", "fp16", "bf16")}
    for name, chance in CHANCE.items():
        learnt = chance - runs["fp32"][name]
        assert learnt > 0.8, runs
        for precision in ("fp16", "bf16"):
            assert abs(runs[precision][name] - runs["fp32"][name]) < 0.05 * learnt, (name, runs)


def watch_counts(path: str) -> None:
    """What must not advance on an overflow: update counts, reward statistics, weights, masters, optimizer states."""
    from fairseq.trainer import Trainer

    if ON_CPU:  # fairseq's handling of an overflow moves one number to the GPU, whatever the device
        torch.Tensor.cuda = lambda self, *args, **kwargs: self
    original, seen = Trainer.train_step, []

    def state(trainer: Any) -> Dict[str, Any]:
        optimizer = trainer.optimizer.fp32_optimizer
        saved = optimizer.state_dict()
        return {
            "updates": trainer.get_num_updates(),
            "phase": trainer.task.schedule.phase(trainer.get_num_updates()),
            "counts": dict(optimizer.counts),
            "means": {name: dict(tracker.mean) for name, tracker in optimizer.trackers.items() if tracker.mean},
            "weights": [p.detach().cpu().clone() for p in trainer._model.parameters()],
            "masters": [p.detach().cpu().clone() for p in optimizer.params],
            "moments": [
                value.cpu().clone()
                for player in optimizer.optimizers
                for slot in saved[player]["state"].values()
                for value in slot.values()
                if torch.is_tensor(value)
            ],
            "scale": trainer.optimizer.scaler.loss_scale,
        }

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not seen:
            seen.append(state(self))
        out = original(self, *args, **kwargs)
        seen.append(state(self))
        torch.save(seen, path)
        return out

    Trainer.train_step = train_step


def same(before: Any, after: Any) -> bool:
    if torch.is_tensor(before):
        return torch.equal(before, after)
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(same(a, b) for a, b in zip(before, after))
    return before == after


def test_an_overflow_advances_nothing(data: Path, tmp_path: Path) -> None:
    """From a loss scale that overflows, until it has come down far enough; the run then makes all its updates."""
    phases = ["noise", "noise", "forward", "forward", "backward", "backward"]
    extra = ["--noise-updates", "0", *FP16[:2], "--fp16-init-scale", str(2**30), "--baseline", "running-mean"]
    train(tmp_path, ami_args(data, tmp_path, len(phases), *extra), watch=watch_counts)
    seen = records(tmp_path)
    overflows = 0
    for before, after in zip(seen, seen[1:]):
        if after["updates"] == before["updates"]:
            overflows += 1
            assert after["scale"] == before["scale"] / 2
            for name in ("phase", "counts", "means", "weights", "masters", "moments"):
                assert same(before[name], after[name]), name
        else:
            assert after["counts"][before["phase"]] == before["counts"][before["phase"]] + 1
            assert sum(after["counts"].values()) == sum(before["counts"].values()) + 1
    applied = [before["phase"] for before, after in zip(seen, seen[1:]) if after["updates"] > before["updates"]]
    assert overflows > 0 and applied == phases
    assert seen[-1]["means"]["rewards"].keys() == {"noise", "forward"}
