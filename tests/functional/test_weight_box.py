"""After every backward update every weight of the backward network is inside its box."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import load
from functional.settings import FP16, ami_args, train

WIDTH = 0.01


def checkpoints(folder: Path, updates: int) -> List[Any]:
    """The optimizer's state and the half or float weights after each update."""
    paths = [folder / f"checkpoint_1_{update}.pt" for update in range(1, updates + 1)]
    return [load(path) for path in paths]


def backward_weights(state: Dict[str, Any], precision: str) -> List[torch.Tensor]:
    """float32: in half precision the masters."""
    if precision == "fp16":
        return state["last_optimizer_state"]["ami"]["masters"]["backward"]
    return [value for name, value in state["model"].items() if is_parameter(name, value)]


def is_parameter(name: str, value: torch.Tensor) -> bool:
    # the decoder's output projection is its embedding matrix here
    buffers = ("version", "_float_tensor", "output_projection.weight")
    return name.startswith("backward_model.") and not name.endswith(buffers)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_weights_stay_inside(mode: str, precision: str, data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    updates = 5
    args = ami_args(
        data, tmp_path, updates, "--phase-cycle", "forward=1,backward=2", "--save-interval-updates", 1,
        "--backward-lr", "0.05", "--weight-clip-mode", mode, "--weight-clip", WIDTH, "--share-decoder-input-output-embed",
        "--pretrain-updates", 1, *(FP16 if precision == "fp16" else []),
    )  # fmt: skip
    train(tmp_path, args)
    states = checkpoints(tmp_path, updates)
    start = backward_weights(states[0], precision)  # the minimax starts after one update of pretraining
    outside = torch.cat([w.flatten() for w in start]).abs().gt(WIDTH)
    assert outside.float().mean() > 0.5
    for state in states[2:4]:  # updates 3 and 4 are those of the backward network
        for weight, centre in zip(backward_weights(state, precision), start):
            assert weight.dtype == torch.float32
            low, high = (centre - WIDTH, centre + WIDTH) if mode == "relative" else (-WIDTH, WIDTH)
            assert bool((weight >= low).all()) and bool((weight <= high).all())
        assert state["last_optimizer_state"]["ami"]["stats"]["clipped_fraction"] > 0.1
    if precision == "fp16":
        check_half_weights(states[3])


def check_half_weights(state: Dict[str, Any]) -> None:
    """The half weights at work are the boxed masters, rounded."""
    half = [value for name, value in state["model"].items() if is_parameter(name, value)]
    masters = state["last_optimizer_state"]["ami"]["masters"]["backward"]
    assert all(torch.equal(h, m.half()) for h, m in zip(half, masters))


def test_no_box(data: Path, tmp_path: Path) -> None:
    extra = ["--phase-cycle", "backward=2", "--backward-lr", "0.05", "--weight-clip-mode", "none"]
    train(tmp_path, ami_args(data, tmp_path, 2, *extra))
    state = load(tmp_path / "checkpoint_last.pt")
    assert "clipped_fraction" not in state["last_optimizer_state"]["ami"]["stats"]
    weights = torch.cat([w.flatten() for w in backward_weights(state, "fp32")])
    anchor = torch.cat([w.flatten() for w in state["last_optimizer_state"]["ami"]["anchor"]])
    assert float((weights - anchor if len(weights) == len(anchor) else weights).abs().max()) > WIDTH
