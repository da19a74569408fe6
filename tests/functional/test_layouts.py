"""The same update, however the batch is cut into micro-batches and workers."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.commands import Result
from functional.corpus import binarise, pairs
from functional.recorder import player_of, read_records, train_workers
from functional.settings import LSTM, TRANSFORMER, ami_args

# Adam divides by the gradient's size: where that is only rounding, so would be its step
PLAIN = ["--no-save", "--dropout", "0", "--required-batch-size-multiple", "1"]
PLAIN += ["--inner-optimizer-args", '{"adam_eps": 0.01}']
RATES = [f"--{player}-lr=0.01" for player in ("forward", "backward", "noise")]
REWARDS = [f"{name}_{phase}" for name in ("reward", "reward_std", "baseline") for phase in ("forward", "noise")]
LOGGED = (*REWARDS, "vim_bound", "multiplier", "noise_norm", "entropy", "forward_nll",
          "backward_nll_real", "backward_nll_fake", "length_ratio", "clipped_fraction", "loss")  # fmt: skip


def small_data(folder: Path, dictionaries: Dict[str, Path], count: int) -> Path:
    """So few sentences that every epoch is one or two updates on all of them."""
    return binarise(folder / f"data-{count}", pairs(count, 7), dictionaries["en"], dictionaries["de"])


def run_layout(data: Path, folder: Path, updates: int, batch: int, freq: int, world: int, *extra: Any) -> List[Result]:
    folder.mkdir()
    args = ami_args(data, folder, updates, *PLAIN, *RATES, *extra)
    return train_workers(folder, [*args, "--batch-size", batch, "--update-freq", freq], world)


def last_weights(folder: Path, rank: int = 0) -> Dict[str, torch.Tensor]:
    return read_records(folder / f"updates.{rank}.pt")[-1]["weights"]


def assert_same_run(one: Path, other: Path, logs: List[Result]) -> None:
    first, second = (result.logs("train_inner") for result in logs)
    assert len(first) == len(second) > 0
    for a, b in zip(first, second):
        for name in LOGGED:
            assert (a.get(name) is None) == (b.get(name) is None)
            if a.get(name) is not None:  # else not of this phase
                assert float(a[name]) == pytest.approx(float(b[name]), abs=2e-3), (a["num_updates"], name)
    moved = {player: 0.0 for player in ("forward", "backward", "noise")}
    start, end, again = read_records(one / "updates.0.pt")[0]["weights"], last_weights(one), last_weights(other)
    for name in end:
        torch.testing.assert_close(end[name], again[name], atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        moved[player_of(name)] = max(moved[player_of(name)], float((end[name] - start[name]).abs().max()))
    assert min(moved.values()) > 1e-4, moved


@pytest.mark.parametrize("baseline", ["leave-one-out", "running-mean"])
def test_three_layouts_give_one_run(baseline: str, dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    data = small_data(tmp_path, dictionaries, 8)
    layouts = {"whole": (8, 1, 1), "pieces": (4, 2, 1), "workers": (4, 1, 2)}
    extra = ["--baseline", baseline, "--pretrain-updates", "1"]
    logs = {name: run_layout(data, tmp_path / name, 8, *layout, *extra)[0] for name, layout in layouts.items()}
    for other in ("pieces", "workers"):
        assert_same_run(tmp_path / "whole", tmp_path / other, [logs["whole"], logs[other]])


def test_three_layouts_of_an_lstm(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    data = small_data(tmp_path, dictionaries, 8)
    logs = []
    for name, layout in {"whole": (8, 1, 1), "workers": (4, 1, 2)}.items():
        (tmp_path / name).mkdir()
        batch, freq, world = layout
        args = ami_args(data, tmp_path / name, 6, *PLAIN, *RATES, "--batch-size", batch, network=LSTM)
        logs.append(train_workers(tmp_path / name, args, world)[0])
    assert_same_run(tmp_path / "whole", tmp_path / "workers", logs)


def test_one_worker_runs_short(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """Three batches for two workers: the second gets a dummy batch in every other update."""
    data = small_data(tmp_path, dictionaries, 12)
    alone = run_layout(data, tmp_path / "alone", 20, 4, 2, 1)[0]
    workers = run_layout(data, tmp_path / "workers", 20, 4, 1, 2)[0]
    assert_same_run(tmp_path / "alone", tmp_path / "workers", [alone, workers])
    first, second = last_weights(tmp_path / "workers", 0), last_weights(tmp_path / "workers", 1)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_more_workers_than_batches(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """The second worker never has a batch of its own."""
    data = small_data(tmp_path, dictionaries, 4)
    alone = run_layout(data, tmp_path / "alone", 6, 4, 1, 1)[0]
    workers = run_layout(data, tmp_path / "workers", 6, 4, 1, 2)[0]
    assert_same_run(tmp_path / "alone", tmp_path / "workers", [alone, workers])


def test_parameters_are_equal_after_twenty_updates(data: Path, tmp_path: Path) -> None:
    """With dropout, Adam as it is and different data on each worker."""
    train_workers(tmp_path, [*ami_args(data, tmp_path, 20, network=TRANSFORMER), *RATES, "--dropout", "0.3"], 2)
    first, second = last_weights(tmp_path, 0), last_weights(tmp_path, 1)
    assert all(torch.equal(first[name], second[name]) for name in first)
