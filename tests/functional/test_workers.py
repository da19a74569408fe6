"""Several workers are one: where some run short of batches, in half precision, and after a restart with other numbers.

Every expected value is that of one worker that sees the same batches.
"""

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import pytest
import torch
from functional.commands import Result
from functional.corpus import binarise, pairs
from functional.recorder import read_records, train_workers
from functional.settings import ami_args
from functional.test_layouts import LOGGED, PLAIN, RATES
from functional.vae_settings import LAGGING, MINE, preprocess, sentences, vae_args

WARM = ["--pretrain-lr", "0.01", "--pretrain-warmup-updates", "1"]
PHASES = [*WARM, "--pretrain-updates", "1", "--noise-updates", "1", "--phase-cycle", "noise=1,forward=1,backward=1"]
# a step that is too large stays what it is where nothing clips or normalises it
UNCLIPPED = [f"--{player}-clip-norm=0" for player in ("forward", "backward", "noise")]
UNCLIPPED += ["--inner-optimizer", "sgd", "--inner-optimizer-args", "{}"]
# batches of an epoch, workers, --update-freq; options
SHORT = {
    "every other update": ((7, 2, 2), ["--clip-norm", "0.5"]),
    "two of three workers": ((4, 3, 2), UNCLIPPED),
    "one without any batch": ((2, 3, 2), UNCLIPPED),
}


def few_batches(folder: Path, dictionaries: Dict[str, Path], batches: int) -> Path:
    """So many batches of two sentences, of different lengths."""
    return binarise(folder / "data", pairs(2 * batches, 7), dictionaries["en"], dictionaries["de"])


def assert_equal_after_every_update(one: Path, other: Path, rank: int, least: float = 1e-4) -> None:
    """Parameter by parameter, and every player moved."""
    first, second = read_records(one / "updates.0.pt"), read_records(other / f"updates.{rank}.pt")
    assert len(first) == len(second) > 1
    for update, (a, b) in enumerate(zip(first, second)):
        for name, value in a["weights"].items():
            where = f"update {update}, {name}: "
            torch.testing.assert_close(
                b["weights"][name], value, atol=2e-6, rtol=2e-5, msg=lambda text, w=where: w + text
            )
    start, end = first[0]["weights"], first[-1]["weights"]
    moved: Dict[str, float] = {}
    for name, value in end.items():
        player = name.split(".")[0]
        moved[player] = max(moved.get(player, 0.0), float((value - start[name]).abs().max()))
    assert min(moved.values()) > least, moved


def assert_same_logs(one: Result, other: Result, names: Sequence[str]) -> None:
    """Also of the last update of an epoch."""
    first, second = one.logs("train_inner"), other.logs("train_inner")
    assert len(first) == len(second) > 0
    for a, b in zip(first, second):
        for name in names:
            assert (a.get(name) is None) == (b.get(name) is None), name
            if a.get(name) is not None:
                assert float(a[name]) == pytest.approx(float(b[name]), abs=2e-3), (a["num_updates"], name)


def both(folder: Path, args: Any, layout: Tuple[int, int, int]) -> List[List[Result]]:
    """One worker that takes all batches of an update, then *layout*; *args* makes the command line for a folder."""
    batches, world, freq = layout
    results = []
    for name, workers, frequency in (("one", 1, world * freq), ("several", world, freq)):
        (folder / name).mkdir()
        options = [*args(folder / name), "--batch-size", "2", "--update-freq", frequency]
        results.append(train_workers(folder / name, options, workers))
    return results


@pytest.mark.parametrize("case", SHORT)
def test_workers_that_run_short(case: str, dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """Every phase of AMI meets the short update at the end of an epoch."""
    layout, extra = SHORT[case]
    data = few_batches(tmp_path, dictionaries, layout[0])

    def args(folder: Path) -> List[Any]:
        return ami_args(data, folder, 8, *PLAIN, *RATES, *PHASES, *extra)

    one, several = both(tmp_path, args, layout)
    for rank in range(layout[1]):
        assert_equal_after_every_update(tmp_path / "one", tmp_path / "several", rank)
    assert_same_logs(one[0], several[0], (*LOGGED, "gnorm"))


@pytest.mark.parametrize(
    "extra", [["--clip-norm", "0.1"], [*MINE, "--xi", "ema"], [*MINE, *LAGGING]], ids=["clipped", "mine", "lagging"]
)
def test_a_text_vae_whose_workers_run_short(extra: List[str], tmp_path: Path) -> None:
    layout = (7, 2, 2)
    data = preprocess(tmp_path / "data", {"train": sentences(14, 3), "valid": sentences(4, 4)})

    def args(folder: Path) -> List[Any]:
        return vae_args(data, folder, 8, "--disable-validation", "--no-save", *extra)

    one, several = both(tmp_path, args, layout)
    for rank in range(layout[1]):
        assert_equal_after_every_update(tmp_path / "one", tmp_path / "several", rank)
    assert_same_logs(one[0], several[0], ("loss", "nll", "kl", "bound", "gnorm"))
