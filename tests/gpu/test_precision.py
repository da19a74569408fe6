"""Half precision on the device: it gets where float32 gets, and an overflow costs no update of any kind."""

from pathlib import Path
from typing import Any, Dict, List

import torch
from functional.settings import ami_args, hydra_args, with_validation
from functional.test_phases import as_config
from gpu.device import FP16, ON_CPU, here_hydra, logs, records, train

UPDATES = 68
SETTINGS = ["--pretrain-updates", "50", "--noise-updates", "2", "--phase-cycle", "noise=2,forward=4,backward=2"]
LEARNING = ["--pretrain-lr", "0.02", "--pretrain-warmup-updates", "5", "--forward-lr", "0.005", "--backward-lr", "0.005"]
BATCH = ["--batch-size", "24"]


def trained(precision: str, data: Path, folder: Path) -> Dict[str, List[float]]:
    """Validation losses of a run from scratch."""
    if precision == "bf16":
        folder.mkdir()
        sections = {"common": here_hydra({"bf16": True}), "task": as_config(SETTINGS), "optimizer": as_config(LEARNING)}
        valid = {"disable_validation": False, "validate_interval_updates": 17, "validate_interval": 1000, "batch_size": 24}
        args = hydra_args(data, folder, UPDATES, **sections, dataset=valid)
        result = train(folder, [*args, f"hydra.run.dir={folder / 'hydra'}"], command="hydra-train")[0]
    else:
        args = with_validation(ami_args(data, folder, UPDATES, *SETTINGS, *LEARNING, "--no-save", *BATCH), 17)
        result = train(folder, [*args, *(FP16 if precision == "fp16" else [])])[0]
    found = logs(result, "valid")
    assert int(found[-1]["valid_num_updates"]) == UPDATES
    return {name: [float(log[f"valid_{name}"]) for log in found] for name in ("nll_loss", "backward_nll_real")}


def test_half_precision_reaches_the_result_of_float32(data: Path, tmp_path: Path) -> None:
    """Both networks: within a tenth of what was learnt between the first and the last validation."""
    runs = {precision: trained(precision, data, tmp_path / precision) for precision in ("fp32", "fp16", "bf16")}
    for name, losses in runs["fp32"].items():
        learnt = losses[0] - losses[-1]
        assert learnt > 0.3, (name, losses)
        for precision in ("fp16", "bf16"):
            assert abs(runs[precision][name][-1] - losses[-1]) < 0.1 * learnt, (precision, name, runs[precision][name])


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
            "means": {name: tracker.state_dict()["mean"] for name, tracker in optimizer.trackers.items() if tracker.mean},
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
