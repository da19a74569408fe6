"""A loss that is no number stops all workers in the same update, with one line that says what to do."""

from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.commands import Result, start
from functional.corpus import binarise, pairs
from functional.recorder import free_port
from functional.settings import FP16, ami_args, workers_args
from functional.vae_settings import MINE, vae_args

CYCLE = ["--phase-cycle", "noise=2,forward=2,backward=2"]
UPDATE = 4  # the first of the backward phase, behind the forward phase


def spoil(broken: bool, update: int, factor: float, plus: float) -> None:
    """On a *broken* worker: factor * loss + plus from *update* on."""
    from fairseq.trainer import Trainer

    torch.Tensor.cuda = lambda self, *args, **kwargs: self  # fairseq's overflow moves one number to the GPU
    original, done = Trainer.train_step, []

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if broken and self.get_num_updates() == update and not done:
            done.append(True)
            forward = self._criterion.forward

            def spoiled(*args: Any, **kwargs: Any) -> Any:
                loss, size, log = forward(*args, **kwargs)
                loss = factor * loss + plus
                return loss, size, {**log, "loss": loss.detach()}

            self._criterion.forward = spoiled
        return original(self, *args, **kwargs)

    Trainer.train_step = train_step


def run_workers(folder: Path, args: List[Any], world: int, *how: Any, hook: Any = spoil) -> List[Result]:
    """Only the last worker is broken."""
    port = free_port()
    running = [
        start(
            "train",
            [*args, *(workers_args(world, rank, port) if world > 1 else [])],
            folder / f"{rank}.log",
            hook=partial(hook, rank == world - 1, *how),
        )
        for rank in range(world)
    ]
    return [worker.wait() for worker in running]


def the_line(result: Result) -> str:
    """The only error of a worker, in one line."""
    assert result.code != 0 and "Traceback" not in result.text, result.text[-4000:]
    (line,) = [line for line in result.text.splitlines() if "fairseq_ami: error:" in line]
    return line.split("error: ")[1]  # torch puts the worker's number before it


@pytest.mark.parametrize("world", [1, 3])
def test_the_gradient_of_one_worker(world: int, data: Path, tmp_path: Path) -> None:
    results = run_workers(tmp_path, ami_args(data, tmp_path, 8, *CYCLE), world, UPDATE, float("nan"), 0.0)
    for result in results:
        line = the_line(result)
        assert f"in update {UPDATE} (backward phase): training stops" in line and str(tmp_path) in line
        # the forward phase made the weights of this update
        assert "Lower --forward-lr" in line and "or lower --backward-lr" in line and "fp16" not in line
    assert "the loss is nan" in the_line(results[-1])
    assert not (tmp_path / "crash.pt").exists()


def test_a_loss_without_a_trace_in_the_gradient(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """On a worker whose second batch is missing, which fairseq would leave out of its logs."""
    data = binarise(tmp_path / "data", pairs(6, 7), dictionaries["en"], dictionaries["de"])
    args = ami_args(data, tmp_path, 8, *CYCLE, "--batch-size", "2", "--update-freq", "2")
    args += ["--required-batch-size-multiple", "1"]
    for result in run_workers(tmp_path, args, 2, UPDATE, 1.0, float("inf")):
        assert f"the loss is inf (over all workers) in update {UPDATE} (backward phase)" in the_line(result)


def test_before_any_weight_has_moved(data: Path, tmp_path: Path) -> None:
    """A learning rate is not to blame."""
    for result in run_workers(tmp_path, ami_args(data, tmp_path, 8, *CYCLE), 2, 0, float("nan"), 0.0):
        assert "No weight has moved yet" in the_line(result) and "-lr" not in the_line(result)


@pytest.mark.parametrize("world", [1, 2])
def test_half_precision_does_not_go_on_for_ever(world: int, data: Path, tmp_path: Path) -> None:
    """fairseq halves its loss scale from 4 down to .0001, which takes 15 updates; it ends where fairseq would."""
    args = ami_args(data, tmp_path, 8, *CYCLE, *FP16, "--max-epoch", "20")
    results = run_workers(tmp_path, args, world, UPDATE, float("nan"), 0.0)
    for result in results:
        line = the_line(result)
        assert f"in update {UPDATE} (backward phase), after 15 updates that half precision left out" in line
        assert "Lower --forward-lr" in line and "Or train without --fp16" in line
    assert results[0].text.count("gradient overflow detected") == 15  # the first worker alone logs


def test_half_precision_with_a_loss_without_a_trace_in_the_gradient(data: Path, tmp_path: Path) -> None:
    (result,) = run_workers(tmp_path, ami_args(data, tmp_path, 8, *CYCLE, *FP16), 1, UPDATE, 1.0, float("inf"))
    assert f"the loss is inf (over all workers) in update {UPDATE} (backward phase)" in the_line(result)


@pytest.mark.parametrize("plus, precision", [(0.0, []), (float("inf"), []), (0.0, FP16)])
def test_a_text_vae_with_two_workers(plus: float, precision: List[str], vae_data: Path, tmp_path: Path) -> None:
    args = vae_args(vae_data, tmp_path, 8, *MINE, *precision, "--disable-validation")
    for result in run_workers(tmp_path, args, 2, 2, 1.0 if plus else float("nan"), plus):
        assert "in update 2 (joint phase)" in the_line(result) and "Lower --lr, --mi-weight" in the_line(result)


def doubt(broken: bool) -> None:
    """On a *broken* worker the networks that the run starts from seem to know nothing about its batch."""
    from fairseq.trainer import Trainer

    original = Trainer.train_step

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if broken and self.get_num_updates() == 0:
            likelihood = self._model.log_likelihood
            self._model.log_likelihood = lambda *args, **kwargs: 100 * likelihood(*args, **kwargs)
        return original(self, *args, **kwargs)

    Trainer.train_step = train_step


def test_networks_that_one_worker_refuses(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """All look at the batches of all, before any of them waits for another."""
    args = ami_args(data, tmp_path, 2, *(f"--{name}-checkpoint={path}" for name, path in stock.items()))
    lines = [the_line(result) for result in run_workers(tmp_path, args, 2, hook=doubt)]
    assert lines[0] == lines[1] and "--forward-checkpoint does worse than chance" in lines[0]
