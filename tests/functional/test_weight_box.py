"""After every backward update every weight of the backward network is inside its box."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import load
from functional.settings import FP16, ami_args, train

WIDTH = 0.01
FAST = ["--backward-lr", "0.05", "--share-decoder-input-output-embed"]


def checkpoints(folder: Path, updates: int) -> List[Any]:
    """The state after each update."""
    return [load(folder / f"checkpoint_1_{update}.pt") for update in range(1, updates + 1)]


def network_weights(state: Dict[str, Any]) -> List[torch.Tensor]:
    """Those of the backward network as it works."""
    # fairseq's markers are no weights; the output projection is the embedding matrix here
    rest = ("version", "_float_tensor", "output_projection.weight")
    return [v for name, v in state["model"].items() if name.startswith("backward_model.") and not name.endswith(rest)]


def boxed_weights(state: Dict[str, Any]) -> List[torch.Tensor]:
    """The float32 ones that the optimizer steps."""
    masters = state["last_optimizer_state"]["ami"]["masters"]
    return network_weights(state) if masters is None else masters["backward"]


def flat(weights: List[torch.Tensor]) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in weights])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_weights_stay_inside(mode: str, precision: str, data: Path, tmp_path: Path) -> None:
    updates = 5
    box = ["--weight-clip-mode", mode, "--weight-clip", WIDTH, *(FP16 if precision == "fp16" else [])]
    cycle = ["--pretrain-updates", 1, "--phase-cycle", "forward=1,backward=2", "--save-interval-updates", 1]
    train(tmp_path, ami_args(data, tmp_path, updates, *cycle, *box, *FAST))
    states = checkpoints(tmp_path, updates)
    half = torch.float16 if precision == "fp16" else torch.float32
    start = boxed_weights(states[0])  # the minimax starts after one update of pretraining
    assert flat(start).abs().gt(WIDTH).float().mean() > 0.5
    for state in states[2:4]:  # updates 3 and 4 are those of the backward network
        for weight, centre in zip(boxed_weights(state), start):
            assert weight.dtype == torch.float32
            low, high = (centre - WIDTH, centre + WIDTH) if mode == "relative" else (-WIDTH, WIDTH)
            assert bool((weight >= low).all()) and bool((weight <= high).all())
        assert state["last_optimizer_state"]["ami"]["stats"]["clipped_fraction"] > 0.1
        # the weights at work are the boxed ones, rounded (fairseq saves them in float32 again)
        pairs = zip(network_weights(state), boxed_weights(state))
        assert all(torch.equal(at_work, boxed.to(half).float()) for at_work, boxed in pairs)
    assert (states[-1]["last_optimizer_state"]["ami"]["masters"] is not None) == (precision == "fp16")


def test_no_box(data: Path, tmp_path: Path) -> None:
    train(tmp_path, ami_args(data, tmp_path, 2, "--phase-cycle", "backward=2", "--weight-clip-mode", "none", *FAST))
    state = load(tmp_path / "checkpoint_last.pt")
    own = state["last_optimizer_state"]["ami"]
    assert "clipped_fraction" not in own["stats"]
    assert float((flat(boxed_weights(state)) - flat(own["anchor"])).abs().max()) > WIDTH


@pytest.mark.parametrize("objective", ["mmi", "mle"])
def test_only_the_adversary_has_a_box(objective: str, data: Path, tmp_path: Path) -> None:
    """The paper clips for its Wasserstein argument alone (section 3.1): MMI's and maximum likelihood's Q are free."""
    args = ["--phase-cycle", "backward=2", "--objective", objective, "--num-samples", "2", *FAST]
    train(tmp_path, ami_args(data, tmp_path, 2, *args))
    state = load(tmp_path / "checkpoint_last.pt")
    own = state["last_optimizer_state"]["ami"]
    assert "clipped_fraction" not in own["stats"]
    assert float((flat(boxed_weights(state)) - flat(own["anchor"])).abs().max()) > WIDTH
