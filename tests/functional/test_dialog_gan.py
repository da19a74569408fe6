"""Adversarial REINFORCE from end to end: start, phases, precision, resume, workers, decoding, export, mistakes."""

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Set

import pytest
import torch
from functional.checkpoints import assert_identical, load
from functional.commands import PLUGIN, Result, run, start
from functional.export_fixtures import column
from functional.recorder import player_of, read_records, train_workers
from functional.settings import (
    COMMON,
    FP16,
    LSTM_SIZES,
    TRANSFORMER_SIZES,
    hydra_args,
    stock_args,
    train,
    with_validation,
)
from functional.test_ami_dialog import write_dialogues
from functional.test_hred import SIZES, decode, replies

from fairseq_ami import cli

NETWORKS = {
    "transformer": ["--arch", "transformer", *TRANSFORMER_SIZES],
    "lstm": ["--arch", "lstm", "--encoder-bidirectional", *LSTM_SIZES],
    "hred": ["--arch", "hred_tiny", *SIZES],
}
GAN = [
    "--task", "dialog_gan", "--arch", "dialog_gan_tiny", "--criterion", "dialog_gan", "--optimizer", "ami_phased",
    "--batch-size", "8", "--disable-validation", "--sample-max-len-b", "6",
]  # fmt: skip
CYCLE = ["--discriminator-updates", "1", "--phase-cycle", "discriminator=2,generator=2,teacher=1"]
PHASES = ["discriminator"] * 3 + ["generator"] * 2 + ["teacher", "discriminator"]
PLAYERS = {"discriminator": {"discriminator"}, "generator": {"generator"}, "teacher": {"generator"}}
RATES = ["--generator-lr", "0.01", "--discriminator-lr", "0.01"]


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """What dialog-prepare makes of toy dialogues."""
    sizes = {"train": 40, "valid": 6, "test": 5}
    texts = [f"--{split}={write_dialogues(home / f'{split}.gan', n, n)}" for split, n in sizes.items()]
    argv = ["dialog-prepare", "--format", "dailydialog", *texts, "--destdir", str(home / "gan-data")]
    assert cli.main(argv) == 0
    return home / "gan-data"


@pytest.fixture(scope="module")
def stock(home: Path, folder: Path) -> Dict[str, Path]:
    """Generators to start from."""
    for name, network in NETWORKS.items():
        train(home / f"gan-{name}", stock_args(folder, home / f"gan-{name}", 30, *network))
    return {name: home / f"gan-{name}" / "checkpoint_last.pt" for name in NETWORKS}


def gan_args(folder: Path, save_dir: Path, updates: int, generator: Any, *extra: Any) -> List[Any]:
    args = [folder, *COMMON, *GAN, "--max-update", updates, "--save-dir", save_dir, *CYCLE, *RATES, *extra]
    return [str(arg) for arg in [*args, *(["--generator-checkpoint", generator] if generator else [])]]


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rewards", ["none", "monte-carlo", "prefix"])
def test_logs(name: str, rewards: str, folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """Any generator, any rewards: what each phase logs, and what validation does."""
    extra = ["--step-rewards", rewards, "--eval-replies", "--best-checkpoint-metric", "ppl"]
    args = with_validation(gan_args(folder, tmp_path, 8, stock[name], *extra), 8)
    result = train(tmp_path, args)
    assert "generator: weights of" in result.text
    inner = result.logs("train_inner")
    assert [int(log["phase"]) for log in inner] == [1, 1, 1, 2, 2, 3, 1, 1]
    assert 0.3 < float(inner[0]["discriminator_loss"]) < 1.2  # log 2 before it has learnt
    game = [log for log in inner if int(log["phase"]) == 2]
    assert all(0 < float(log["reward"]) < 1 and float(log["reward_std"]) > 0 for log in game)
    assert ("completions" in game[0]) == (rewards == "monte-carlo")
    assert math.isfinite(float(inner[5]["teacher_nll"]))
    valid = result.logs("valid")[-1]
    wanted = {"ppl", "nll_loss", "human_accuracy", "machine_accuracy", "discriminator_loss", "reply_length"}
    assert {f"valid_{name}" for name in wanted} <= set(valid)


def test_the_discriminator_learns(folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """Pretraining alone, against a generator that hardly learnt: human replies answer their histories."""
    alone = [
        "--phase-cycle",
        "discriminator=1",
        "--beam-share",
        "0.5",
        "--discriminator-lr",
        "0.02",
        "--generator-lr",
        "0.0002",
    ]
    logs = train(tmp_path, gan_args(folder, tmp_path, 80, stock["transformer"], *alone)).logs("train_inner")
    assert {int(log["phase"]) for log in logs} == {1}
    first, last = (sum(float(log["discriminator_loss"]) for log in part) / 10 for part in (logs[:10], logs[-10:]))
    assert last < first - 0.05


def moved(before: Dict[str, Any], after: Dict[str, Any]) -> Set[str]:
    names = before["weights"]
    changed = {player_of(name) for name in names if not torch.equal(before["weights"][name], after["weights"][name])}
    return {"generator" if player == "forward" else player for player in changed}


def check_isolation(folder: Path, world: int, dtype: torch.dtype, more: Set[str]) -> None:
    for rank in range(world):
        records = read_records(folder / f"updates.{rank}.pt")
        assert {weight.dtype for weight in records[0]["weights"].values()} == {dtype}
        assert [record["phase"] for record in records[1:] if record["applied"]] == PHASES[: len(records) - 1]
        for before, after in zip(records, records[1:]):
            playing = PLAYERS[after["phase"]] | (more if after["phase"] == "generator" else set())
            steps = {name for name in after["steps"] if after["steps"][name] != before["steps"][name]}
            assert steps == playing and moved(before, after) <= playing, after["phase"]
            assert dtype != torch.float32 or moved(before, after) == playing, after["phase"]
    if world == 2:
        one, two = (read_records(folder / f"updates.{rank}.pt")[-1]["weights"] for rank in range(2))
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_only_the_player_moves(
    precision: str, world: int, folder: Path, stock: Dict[str, Path], tmp_path: Path
) -> None:
    """The others stay bit-identical; the baseline network plays with the generator."""
    extra = ["--baseline", "network", "--reward-scale", "none", *(FP16 if precision == "fp16" else [])]
    train_workers(tmp_path, gan_args(folder, tmp_path, len(PHASES), stock["transformer"], *extra), world)
    check_isolation(tmp_path, world, torch.float16 if precision == "fp16" else torch.float32, {"baseline"})


def test_bfloat16(folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    sections: Dict[str, Dict[str, Any]] = {
        "common": {"bf16": True},
        "task": {"_name": "dialog_gan", "phase_cycle": CYCLE[3], "discriminator_updates": 1},
        "model": {"generator_checkpoint": str(stock["lstm"]), "arch": "dialog_gan_tiny"},
        "criterion": {"_name": "dialog_gan", "sample_max_len_b": 6},
    }
    args = hydra_args(folder, tmp_path, len(PHASES), network=["--arch", "dialog_gan"], **sections)
    config = json.loads((tmp_path / "ami.yaml").read_text().split("\n", 1)[1])
    assert config["task"]["_name"] == "dialog_gan"
    train_workers(tmp_path, args, 1, "hydra-train")
    check_isolation(tmp_path, 1, torch.bfloat16, set())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_killed_and_resumed(precision: str, folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """Bit for bit the uninterrupted run, also without the checkpoint that the generator came from."""
    extra = ["--save-interval-updates", "1", "--baseline", "running-mean", "--discriminator-dropout", "0.2"]
    extra += FP16 if precision == "fp16" else []
    for part in ("straight", "broken"):
        (tmp_path / part).mkdir()
        mine = tmp_path / f"{part}.pt"
        mine.write_bytes(stock["hred"].read_bytes())
        args = gan_args(folder, tmp_path / part, 14, mine, *extra)
        if part == "broken":
            start("train", args, tmp_path / "killed.log").kill_when(tmp_path / part / "checkpoint_1_5.pt")
            mine.unlink()
        text = train(tmp_path / part, args).text
    assert "Loaded checkpoint" in text
    one, two = (load(tmp_path / part / "checkpoint_last.pt") for part in ("straight", "broken"))
    assert sum(one["last_optimizer_state"]["ami"]["counts"][name] for name in ("discriminator", "generator")) == 14
    assert one["last_optimizer_state"]["ami"]["trackers"]["rewards"]["mean"].keys() == {"generator"}
    for key in ("model", "last_optimizer_state"):
        assert_identical(one[key], two[key])


@pytest.mark.parametrize("rewards", ["monte-carlo", "prefix"])
def test_two_workers_are_one(rewards: str, folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    found = []
    for world, freq in ((1, 2), (2, 1)):
        save = tmp_path / str(world)
        save.mkdir()
        extra = ["--update-freq", freq, "--inner-optimizer", "sgd", "--step-rewards", rewards, "--baseline", "network"]
        rates = ["--generator-lr", "0.3", "--discriminator-lr", "0.3", "--baseline-lr", "0.3"]
        train_workers(save, gan_args(folder, save, 6, stock["hred"], *extra, *rates), world)
        found.append(load(save / "checkpoint_last.pt")["model"])
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: key + text)


# ---------------------------------------------------------------------- decoding, export


@pytest.mark.parametrize("name", NETWORKS)
def test_it_decodes_as_its_generator(name: str, folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """A generator that stood still answers as it did; exported, it does so under stock fairseq's task."""
    still = ["--generator-lr", "0"]
    train(tmp_path / "gan", gan_args(folder, tmp_path / "gan", 7, stock[name], *still))
    path = tmp_path / "gan" / "checkpoint_last.pt"
    want = replies(decode(folder, stock[name], tmp_path, "--task", "ami_dialog"))
    assert len(want) > 3
    for task in ("dialog_gan", "ami_dialog", "hierarchical_dialog"):
        assert replies(decode(folder, path, tmp_path, "--task", task)) == want
    assert cli.main(["export", str(path), str(tmp_path / "plain.pt"), "--direction", "forward"]) == 0
    assert replies(decode(folder, tmp_path / "plain.pt", tmp_path, "--task", "hierarchical_dialog")) == want
    assert cli.main(["export", str(path), str(tmp_path / "both"), "--pair"]) == 2
    argv = [folder, "--user-dir", PLUGIN, "--task", "dialog_gan", "--path", path, "--cpu", "--input"]
    result = run("interactive", [*argv, folder / "test.hist", "--buffer-size", 3], tmp_path / "interactive.log")
    assert len(column(result.text, "H")) == len(want)
    argv = [folder, "--user-dir", PLUGIN, "--task", "dialog_gan", "--path", path, "--cpu", "--valid-subset", "test"]
    result = run("validate", [*argv, "--batch-size", 4, "--num-workers", 0], tmp_path / "validate.log")
    assert "human_accuracy" in result.text


# ---------------------------------------------------------------------- mistakes

REFUSED = {
    "no generator": ([], "pass --generator-checkpoint"),
    "a name": (["--phase-cycle", "noise=1"], "the players are discriminator, generator, teacher"),
    "no cycle": (["--phase-cycle", "x"], "write it like discriminator=1,generator=1,teacher=1"),
    "a stage": (["--discriminator-updates", "-1"], "--discriminator-updates must not be negative"),
    "one reply": (["--num-samples", "1"], "pass --num-samples 2"),
    "completions": (["--step-rewards", "none", "--completions", "3"], "--completions is for --step-rewards monte"),
    "no completion": (["--completions", "0"], "must be at least 1"),
    "temperature": (["--sample-temperature", "0"], "--sample-temperature must be positive"),
    "no words": (["--sample-max-len-b", "0"], "not both 0"),
    "share": (["--beam-share", "2"], "--beam-share must be in [0, 1]"),
    "weight": (["--policy-weight", "0"], "--policy-weight must be positive"),
    "size": (["--discriminator-hidden-size", "0"], "--discriminator-hidden-size must be at least 1"),
    "dropout": (["--discriminator-dropout", "1"], "--discriminator-dropout must be in [0, 1)"),
    "a rate": (["--lr", "0.1"], "pass --generator-lr and --discriminator-lr"),
    "another's rate": (["--forward-lr", "0.1"], "--forward-lr is for the forward network"),
    "no baseline network": (["--baseline-lr", "0.1"], "--baseline-lr is for the baseline network"),
    "half precision": (["--fp16"], "--fp16-no-flatten-grads"),
}


def fails(result: Result, *messages: str) -> None:
    assert result.code != 0 and "Traceback" not in result.text, result.text[-3000:]
    assert all(message in result.text for message in messages), result.text[-2000:]


@pytest.mark.parametrize("case", REFUSED)
def test_settings(case: str, folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    extra, message = REFUSED[case]
    args = gan_args(folder, tmp_path / "run", 2, None if case == "no generator" else stock["hred"], *extra)
    fails(train(tmp_path, args, check=False), message)
    assert not list(tmp_path.rglob("checkpoint*.pt"))


@pytest.mark.parametrize(
    "task, criterion, optimizer, message",
    [
        ("dialog_gan", "dialog_gan", "adam", "needs --optimizer ami_phased"),
        ("dialog_gan", "cross_entropy", "ami_phased", "trains with --criterion dialog_gan"),
        ("ami_dialog", "ami_minimax", "ami_phased", "pass --task dialog_gan"),
    ],
)
def test_parts_that_do_not_fit(
    task: str, criterion: str, optimizer: str, message: str, folder: Path, stock: Dict[str, Path], tmp_path: Path
) -> None:
    args = stock_args(folder, tmp_path / "run", 2, "--task", task, "--criterion", criterion, "--optimizer", optimizer)
    args = [*args, "--arch", "dialog_gan_tiny", "--generator-checkpoint", stock["hred"]]
    at = args.index("--lr")
    fails(train(tmp_path, args[:at] + args[at + 2 :], check=False), message)


def test_wrong_checkpoints(folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    def attempt(generator: Path, *extra: Any, save: str = "run") -> Result:
        return train(tmp_path, gan_args(folder, tmp_path / save, 7, generator, *extra), check=False)

    fails(attempt(tmp_path / "nowhere.pt"), "--generator-checkpoint: there is no file")
    (tmp_path / "half.pt").write_bytes(stock["hred"].read_bytes()[:3000])
    fails(attempt(tmp_path / "half.pt"), "--generator-checkpoint", "damaged")
    assert attempt(stock["hred"], save="gan").code == 0
    fails(attempt(tmp_path / "gan" / "checkpoint_last.pt"), "'dialog_gan_tiny'", "fairseq-ami export")
    backward = tmp_path / "backward"
    train(backward, stock_args(folder / "backward", backward, 2, *NETWORKS["hred"], "-s", "context", "-t", "last"))
    fails(attempt(backward / "checkpoint_last.pt"), "translates context -> last; the generator network")
    again = ["--max-update", "9"]
    fails(attempt(stock["hred"], *again, "--discriminator-updates", "3", save="gan"), "was written with", "updates 1")
    fails(attempt(stock["hred"], *again, "--discriminator-hidden-size", "8", save="gan"), "hidden-size 16")
    fails(attempt(stock["hred"], *again, "--reset-optimizer", save="gan"), "Pass --discriminator-updates 0")
    fails(train(tmp_path, gan_args(folder, tmp_path / "x", 2, None, "--restore-file", stock["hred"]), check=False),
          "is no checkpoint of a dialog_gan")  # fmt: skip
    fails(attempt(stock["hred"], "--arch", "hred_tiny"), "unrecognized arguments")
