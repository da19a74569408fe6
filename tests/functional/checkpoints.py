"""Comparing the checkpoints of two runs."""

from pathlib import Path
from typing import Any, Iterator, Tuple

import torch


def load(path: Path) -> Any:
    return torch.load(path, weights_only=False)


def leaves(value: Any, where: str = "") -> Iterator[Tuple[str, Any]]:
    """Every plain value inside *value*, with its place."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from leaves(value[key], f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, f"{where}[{index}]")
    else:
        yield where, value


def assert_identical(first: Any, second: Any) -> None:
    """Bit for bit, types included."""
    one, two = dict(leaves(first)), dict(leaves(second))
    assert one.keys() == two.keys()
    for where, value in one.items():
        other = two[where]
        assert type(value) is type(other), where
        if isinstance(value, torch.Tensor):
            assert value.dtype == other.dtype and torch.equal(value, other), where
        else:
            assert value == other or value != value, (where, value, other)


def assert_same_state(first: Path, second: Path) -> None:
    """Weights, optimizers and everything of ours; not the timings, nor ``optimizer_history``."""
    one, two = load(first), load(second)
    assert_identical(one["model"], two["model"])
    assert_identical(one["last_optimizer_state"], two["last_optimizer_state"])
    keys = ("train_iterator", "val_loss", "best", "AMITranslation")
    assert_identical(*({key: state["extra_state"].get(key) for key in keys} for state in (one, two)))
