"""In each phase only its player receives gradient and changes; the others stay bit-identical."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.recorder import player_of, read_records, train_workers
from functional.settings import FP16, NETWORKS, ami_args, hydra_args

CYCLE = ["--pretrain-updates", "1", "--noise-updates", "1", "--phase-cycle", "noise=2,forward=2,backward=2"]
RATES = ["--reward-scale", "none", "--forward-lr", "0.01", "--backward-lr", "0.01", "--noise-lr", "0.01"]
INFOMAX = ["--infomax-dim", "8", "--infomax-weight", "0.2"]  # its heads play with the backward network
RATES += ["--pretrain-lr", "0.01", "--pretrain-warmup-updates", "1"]
PHASES = ["pretrain", "noise", "noise", "noise", "forward", "forward", "backward", "backward"]
PLAYERS = {"pretrain": {"forward", "backward"}, "noise": {"noise"}, "forward": {"forward"}, "backward": {"backward"}}


def as_config(options: List[str]) -> Dict[str, str]:
    return {flag[2:].replace("-", "_"): value for flag, value in zip(options[::2], options[1::2])}


def changed(before: Dict[str, Any], after: Dict[str, Any]) -> set:
    names = before["weights"]
    return {player_of(n) for n in names if not torch.equal(before["weights"][n], after["weights"][n])}


def changed_masters(before: Dict[str, Any], after: Dict[str, Any]) -> set:
    pairs = {p: zip(before["masters"][p], after["masters"][p]) for p in before["masters"]}
    return {player for player, both in pairs.items() if not all(torch.equal(a, b) for a, b in both)}


def stepped(before: Dict[str, Any], after: Dict[str, Any]) -> set:
    return {player for player in after["steps"] if after["steps"][player] != before["steps"][player]}


def check_isolation(records: List[Dict[str, Any]], dtype: torch.dtype) -> None:
    assert {w.dtype for w in records[0]["weights"].values()} == {dtype}
    assert [r["phase"] for r in records[1:] if r["applied"]] == PHASES
    for before, after in zip(records, records[1:]):
        if not after["applied"]:  # an overflow in half precision
            assert changed(before, after) == changed_masters(before, after) == set()
            continue
        playing = PLAYERS[after["phase"]]
        assert {player_of(name) for name in after["gradients"]} == playing, after["phase"]
        assert changed_masters(before, after) == stepped(before, after) == playing, after["phase"]
        assert changed(before, after) <= playing, after["phase"]
        if dtype == torch.float32:
            assert changed(before, after) == playing, after["phase"]


def check_workers(folder: Path, world: int, dtype: torch.dtype) -> None:
    for rank in range(world):
        check_isolation(read_records(folder / f"updates.{rank}.pt"), dtype)
    if world == 2:
        one, two = (read_records(folder / f"updates.{rank}.pt")[-1] for rank in range(2))
        assert all(torch.equal(one["weights"][name], two["weights"][name]) for name in one["weights"])


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("network", ["transformer", "lstm"])
def test_only_the_player_moves(network: str, precision: str, world: int, data: Path, tmp_path: Path) -> None:
    args = ami_args(data, tmp_path, len(PHASES), *CYCLE, *RATES, network=NETWORKS[network])
    train_workers(tmp_path, [*args, *(FP16 if precision == "fp16" else [])], world)
    check_workers(tmp_path, world, torch.float16 if precision == "fp16" else torch.float32)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("network", ["transformer", "lstm"])
def test_only_the_player_moves_with_infomax(network: str, world: int, data: Path, tmp_path: Path) -> None:
    args = ami_args(data, tmp_path, len(PHASES), *CYCLE, *RATES, *INFOMAX, network=NETWORKS[network])
    train_workers(tmp_path, args, world)
    check_workers(tmp_path, world, torch.float32)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("network", ["transformer", "lstm"])
def test_only_the_player_moves_in_bf16(network: str, world: int, data: Path, tmp_path: Path) -> None:
    task, criterion, optimizer = (as_config(options) for options in (CYCLE, RATES[:2], RATES[2:]))
    sections = {"common": {"bf16": True}, "task": task, "criterion": criterion, "optimizer": optimizer}
    args = hydra_args(data, tmp_path, len(PHASES), network=NETWORKS[network], **sections)
    train_workers(tmp_path, args, world, "hydra-train")
    check_workers(tmp_path, world, torch.bfloat16)
