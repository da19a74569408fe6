"""Several workers are one: where some run short of batches, in half precision, and after a restart with other numbers.

Every expected value is that of one worker that sees the same batches.
"""

import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import pytest
import torch
from functional.commands import Result
from functional.corpus import binarise, pairs
from functional.recorder import read_records, train_workers
from functional.rewarded import with_text, write_unlabelled
from functional.settings import FP16, ami_args
from functional.test_layouts import LOGGED, PLAIN, RATES
from functional.test_phases import PLAYERS, changed, changed_masters
from functional.vae_settings import LAGGING, MINE, preprocess, sentences, vae_args

WARM = ["--pretrain-lr", "0.01", "--pretrain-warmup-updates", "1"]
PHASES = [*WARM, "--pretrain-updates", "1", "--noise-updates", "1", "--phase-cycle", "noise=1,forward=1,backward=1"]
SGD = ["--inner-optimizer", "sgd", "--inner-optimizer-args", "{}"]
# a step that is too large stays what it is where nothing clips or normalises it
UNCLIPPED = [f"--{player}-clip-norm=0" for player in ("forward", "backward", "noise")]
UNCLIPPED += SGD
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


def test_text_without_references(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """Batches that bring none of it, one or two sentences; the last update of an epoch is short."""
    layout, prefix = (7, 2, 2), write_unlabelled(tmp_path / "more", dictionaries, 20)
    data = few_batches(tmp_path, dictionaries, layout[0])
    given = ["--unlabelled-ratio", "0.5", "--reward-length", "neutral", "--anchor-weight", "0.2", "--num-samples", "3"]

    def args(folder: Path) -> List[Any]:
        return ami_args(data, folder, 8, *PLAIN, *RATES, *PHASES, *with_text(prefix, *given), "--log-samples", "2")

    one, several = both(tmp_path, args, layout)
    for rank in range(layout[1]):
        assert_equal_after_every_update(tmp_path / "one", tmp_path / "several", rank)
    names = ["reward_forward", "reward_std_forward", "reward_log-q_within_forward", "anchor_divergence", "vim_bound"]
    unlabelled = [f"unlabelled_{name}" for name in (*names, "backward_nll_fake")]
    assert_same_logs(one[0], several[0], (*LOGGED, *names, *unlabelled, "gnorm"))
    logged = [log for log in one[0].logs("train_inner") if log.get("unlabelled_reward_forward") is not None]
    assert logged and any(log.get("unlabelled_backward_nll_fake") is not None for log in one[0].logs("train_inner"))
    assert len((tmp_path / "several" / "samples.jsonl").read_text().splitlines()) > 2  # the first worker's alone


VAES = {
    "clipped": ["--clip-norm", "0.1"],
    "mine": [*MINE, "--xi", "ema"],
    "lagging": [*MINE, *LAGGING],
}


@pytest.mark.parametrize("extra", VAES.values(), ids=VAES)
def test_a_text_vae_whose_workers_run_short(extra: List[str], tmp_path: Path) -> None:
    layout = (7, 2, 2)
    data = preprocess(tmp_path / "data", {"train": sentences(14, 3), "valid": sentences(4, 4)})

    def args(folder: Path) -> List[Any]:
        return vae_args(data, folder, 8, "--disable-validation", "--no-save", *extra)

    one, several = both(tmp_path, args, layout)
    for rank in range(layout[1]):
        assert_equal_after_every_update(tmp_path / "one", tmp_path / "several", rank)
    assert_same_logs(one[0], several[0], ("loss", "nll", "kl", "bound", "gnorm"))


# ---------------------------------------------------------------------- half precision


def check_half_precision(world: int, dictionaries: Dict[str, Path], folder: Path) -> None:
    """All workers end with the same bits, who waits keeps its bits, and one worker does the same but for rounding.

    There are *world* - 1 batches: the last worker has no data. float16 rounds by 2^-11 of the size at most. Gradients
    are rounded once per addition: *world* times, over workers or over micro-batches, in another order. Plain gradient
    descent hands that down to what the weights have moved by.
    """
    data = few_batches(folder, dictionaries, world - 1)

    def args(to: Path) -> List[Any]:
        return ami_args(data, to, 6, *PLAIN, *RATES, *SGD, *PHASES, *FP16)

    both(folder, args, (world - 1, world, 1))
    runs = [read_records(folder / "several" / f"updates.{rank}.pt") for rank in range(world)]
    assert all(record["applied"] for record in runs[0]) and len(runs[0]) == 7
    for other in runs[1:]:
        for a, b in zip(runs[0], other):
            assert all(torch.equal(value, b["weights"][name]) for name, value in a["weights"].items())
            assert all(torch.equal(x, y) for p in a["masters"] for x, y in zip(a["masters"][p], b["masters"][p]))
    for before, after in zip(runs[0], runs[0][1:]):
        playing = PLAYERS[after["phase"]]
        assert changed_masters(before, after) == playing and changed(before, after) <= playing
    alone = read_records(folder / "one" / "updates.0.pt")[-1]["masters"]
    for player, weights in runs[0][-1]["masters"].items():
        moved = largest(weights, runs[0][0]["masters"][player])
        assert 1e-4 < moved and largest(weights, alone[player]) < world * 2**-11 * moved


def largest(ones: List[torch.Tensor], others: List[torch.Tensor]) -> float:
    """The largest difference of two lists of weights."""
    return max(float((one - other).abs().max()) for one, other in zip(ones, others))


def test_four_workers_in_half_precision(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    check_half_precision(4, dictionaries, tmp_path)


@pytest.mark.slow
def test_eight_workers_in_half_precision(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    check_half_precision(8, dictionaries, tmp_path)


# ---------------------------------------------------------------------- restarts


def ami_restart(folder: Path, dictionaries: Dict[str, Path]) -> Any:
    data = few_batches(folder, dictionaries, 12)
    plain = [option for option in PLAIN if option != "--no-save"]
    return lambda to, updates: ami_args(data, to, updates, *plain, *RATES, *PHASES, "--baseline", "running-mean")


def vae_restart(folder: Path, dictionaries: Dict[str, Path]) -> Any:
    """The running mean of E[e^f] and the state of the inner loop are those of all workers."""
    data = preprocess(folder / "data", {"train": sentences(24, 3), "valid": sentences(4, 4)})
    extra = [*MINE, *LAGGING, "--xi", "ema", "--disable-validation"]
    return lambda to, updates: vae_args(data, to, updates, *extra)


@pytest.mark.parametrize("make", [ami_restart, vae_restart])
def test_restarts_with_other_numbers_of_workers(make: Any, dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """Two updates of six batches each are an epoch; two workers stop in the middle of the second."""
    args = make(tmp_path, dictionaries)

    def train_until(folder: Path, updates: int, world: int) -> List[Dict[str, Any]]:
        folder.mkdir(exist_ok=True)
        options = [*args(folder, updates), "--batch-size", "2", "--update-freq", 6 // world]
        train_workers(folder, options, world)
        return read_records(folder / "updates.0.pt")

    alone = train_until(tmp_path / "alone", 5, 1)
    train_until(tmp_path / "stopped", 3, 2)
    for world in (3, 1):
        (tmp_path / f"{world}").mkdir()
        shutil.copy(tmp_path / "stopped" / "checkpoint_last.pt", tmp_path / f"{world}")
        resumed = train_until(tmp_path / f"{world}", 5, world)
        assert len(resumed) == 3  # a start and two updates
        for name, value in alone[5]["weights"].items():
            again = resumed[2]["weights"][name]
            torch.testing.assert_close(again, value, atol=5e-6, rtol=5e-5, msg=lambda m, n=name: f"{n}: {m}")
    assert all(largest_change(*pair) > 1e-4 for pair in zip(alone[3:], alone[4:]))


def largest_change(before: Dict[str, Any], after: Dict[str, Any]) -> float:
    return max(float((after["weights"][name] - value).abs().max()) for name, value in before["weights"].items())
