"""A run that is killed and resumed equals the uninterrupted one, bit for bit."""

import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest
import torch
from functional.checkpoints import assert_same_state, load
from functional.commands import start
from functional.recorder import free_port
from functional.rewarded import may_have_children, with_text, write_module, write_unlabelled
from functional.settings import BEST_BLEU, FP16, LSTM, TRANSFORMER, ami_args, train, with_validation, workers_args

UPDATES, KILLED_AT = 16, 9  # the cycle is 6 updates long, an epoch 12
RATES = [f"--{player}-lr=0.01" for player in ("forward", "backward", "noise")]


def resumable(data: Path, folder: Path, *extra: Any, network: Any = TRANSFORMER) -> List[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return ami_args(data, folder, UPDATES, "--save-interval-updates", "1", *RATES, *extra, network=network)


def kill_and_resume(
    folder: Path, args: List[Any], gone: Sequence[Path] = (), at: str = f"checkpoint_1_{KILLED_AT}.pt"
) -> str:
    """SIGKILL in the middle of a cycle; the files *gone* are no longer there when the run goes on."""
    start("train", args, folder / "killed.log").kill_when(folder / at)
    for path in gone:
        path.unlink()
    text = train(folder, args).text
    assert "Loaded checkpoint" in text
    return text


def validated(args: List[Any]) -> List[Any]:
    """BLEU leaves numpy's classes in the checkpoints."""
    return [*with_validation(args, 4), *BEST_BLEU]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_killed_and_resumed(precision: str, data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    names = {name: Path(shutil.copy(path, tmp_path / f"{name}.pt")) for name, path in stock.items()}
    extra = [f"--{name}-checkpoint={path}" for name, path in names.items()]
    extra += [*(FP16 if precision == "fp16" else []), "--patience", "100", "--baseline", "running-mean"]
    train(tmp_path / "straight", validated(resumable(data, tmp_path / "straight", *extra)))
    broken = validated(resumable(data, tmp_path / "broken", *extra))
    kill_and_resume(tmp_path / "broken", broken, gone=list(names.values()))
    assert_same_state(tmp_path / "straight" / "checkpoint_last.pt", tmp_path / "broken" / "checkpoint_last.pt")
    state = load(tmp_path / "broken" / "checkpoint_last.pt")["last_optimizer_state"]["ami"]
    assert sum(state["counts"].values()) == UPDATES
    assert state["trackers"]["rewards"]["mean"].keys() == {"noise", "forward"}
    assert (state["masters"] is not None) == (state["scaler"] is not None) == (precision == "fp16")


def test_killed_and_resumed_lstm_from_scratch(data: Path, tmp_path: Path) -> None:
    """In the second epoch: fairseq would make other batches then, since it orders sentences by the epoch's number."""
    extra = ["--pretrain-updates", "7", "--noise-updates", "3", "--infomax-dim", "8", "--infomax-weight", "0.2"]
    extra += ["--reward-scale", "advantage-std"]
    train(tmp_path / "straight", resumable(data, tmp_path / "straight", *extra, network=LSTM))
    broken = resumable(data, tmp_path / "broken", *extra, network=LSTM)
    kill_and_resume(tmp_path / "broken", broken, at="checkpoint_2_14.pt")
    assert_same_state(tmp_path / "straight" / "checkpoint_last.pt", tmp_path / "broken" / "checkpoint_last.pt")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_killed_and_resumed_with_rewards(
    precision: str, data: Path, dictionaries: Dict[str, Path], stock: Dict[str, Path], tmp_path: Path
) -> None:
    """A function of one's own, an anchor, no reward for length, text without references, samples to look at.

    In the second epoch, and loaded by a process of its own: which sentences come depends on the epoch.
    """
    extra = [f"--{name}-checkpoint={path}" for name, path in stock.items()]
    extra += ["--reward", "log-q=1,mine:brevity=2", "--reward-length", "neutral", "--anchor-weight", "0.3"]
    extra += [*with_text(write_unlabelled(tmp_path / "more", dictionaries)), "--unlabelled-ratio", "0.8"]
    extra += ["--log-samples", "3", "--no-latent-noise", "--phase-cycle", "forward=3,backward=2", "--batch-size", "16"]
    extra += FP16 if precision == "fp16" else []
    write_module(tmp_path)
    rates = [rate for rate in RATES if not rate.startswith("--noise")]
    runs = {}
    for name, workers in (("straight", "0"), ("broken", "1")):
        (tmp_path / name).mkdir()
        options = ["--save-interval-updates", "1", *rates, *extra, "--num-workers", workers]
        args = ami_args(data, tmp_path / name, 11, *options)  # an epoch has 6 updates
        if name == "broken":
            killed = start("train", args, tmp_path / "killed.log", cwd=tmp_path, hook=may_have_children)
            killed.kill_when(tmp_path / name / "checkpoint_2_8.pt")
        runs[name] = train(tmp_path / name, args, cwd=tmp_path, hook=may_have_children)
    assert "Loaded checkpoint" in runs["broken"].text
    assert_same_state(tmp_path / "straight" / "checkpoint_last.pt", tmp_path / "broken" / "checkpoint_last.pt")
    samples = [(tmp_path / name / "samples.jsonl").read_bytes() for name in runs]
    assert samples[0] == samples[1] and samples[0].count(b"\n") == 4 * 3
    own = load(tmp_path / "broken" / "checkpoint_last.pt")["last_optimizer_state"]["ami"]
    names = {"rewards", "advantages", "lengths"}
    assert own["trackers"].keys() == names | {f"unlabelled_{name}" for name in names} and own["origin"]
    logs = [log for log in runs["straight"].logs("train_inner") if log.get("reward_brevity_forward")]
    wanted = ("anchor_divergence", "reward_log-q_within_forward", "unlabelled_reward_brevity_between_forward")
    assert logs and all(float(logs[-1][name]) != 0 for name in wanted)


def test_killed_and_resumed_with_two_workers(data: Path, tmp_path: Path) -> None:
    def both(folder: Path, args: List[Any]) -> List[Any]:
        port = free_port()
        return [start("train", [*args, *workers_args(2, r, port)], folder / f"{r}.log") for r in range(2)]

    states = []
    for name, kill in (("straight", False), ("broken", True)):
        args = resumable(data, tmp_path / name, "--batch-size", "4")
        if kill:
            first, second = both(tmp_path / name, args)
            first.kill_when(tmp_path / name / f"checkpoint_1_{KILLED_AT}.pt")
            second.kill()
        for worker in both(tmp_path / name, args):
            result = worker.wait()
            assert result.code == 0, result.text[-4000:]
        states.append(tmp_path / name / "checkpoint_last.pt")
    assert_same_state(*states)


def test_truncated_last_checkpoint(data: Path, tmp_path: Path) -> None:
    """The newest whole checkpoint takes its place, and the run ends as if nothing had happened."""
    train(tmp_path / "straight", resumable(data, tmp_path / "straight"))
    args = resumable(data, tmp_path / "broken")
    start("train", args, tmp_path / "killed.log").kill_when(tmp_path / "broken" / f"checkpoint_1_{KILLED_AT}.pt")
    last = tmp_path / "broken" / "checkpoint_last.pt"
    shutil.copy(tmp_path / "broken" / f"checkpoint_1_{KILLED_AT}.pt", last)  # the kill itself may have cut it
    last.write_bytes(last.read_bytes()[:2000])
    text = train(tmp_path / "broken", args).text
    assert "was damaged" in text and f"checkpoint_1_{KILLED_AT}.pt" in text
    assert (tmp_path / "broken" / "checkpoint_last.pt.damaged").stat().st_size == 2000
    assert_same_state(tmp_path / "straight" / "checkpoint_last.pt", last)


def test_truncated_last_checkpoint_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint_last.pt").write_bytes(b"PK\x03\x04half a file")
    result = train(tmp_path, ami_args(data, tmp_path, 2), check=False)
    assert result.code != 0 and "truncated or damaged" in result.text and "--restore-file" in result.text
    assert "Traceback" not in result.text
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"PK\x03\x04half a file"


@pytest.fixture(scope="module")
def stopped(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    train(folder, ami_args(data, folder, 4, "--noise-updates", "1"))
    return folder


REFUSED = {
    "another cycle": (
        ["--noise-updates", "1", "--phase-cycle", "noise=1,forward=3"],
        "--phase-cycle noise=2,forward=2,backward=2: resume with the same phases",
    ),
    "heads of infomax": (["--noise-updates", "1", "--infomax-dim", "8"], "trained with --infomax-dim 0"),
    "another start": (["--noise-updates", "2"], "--noise-updates 1"),
    "reset": (["--noise-updates", "1", "--reset-optimizer"], "Pass --pretrain-updates 0 --noise-updates 0"),
    "another architecture": (["--noise-updates", "1"], "is of --arch ami_transformer_tiny"),
    "another objective": (["--noise-updates", "1", "--objective", "mmi"], "with --objective ami, not mmi"),
    "other players": (["--noise-updates", "1", "--no-latent-noise"], "resume with the settings of the first run"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_resume_that_cannot_continue(case: str, stopped: Path, data: Path, tmp_path: Path) -> None:
    extra, message = REFUSED[case]
    shutil.copy(stopped / "checkpoint_last.pt", tmp_path)
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    network = LSTM if case == "another architecture" else TRANSFORMER
    result = train(tmp_path, ami_args(data, tmp_path, 6, *extra, network=network), check=False)
    assert result.code != 0 and message in result.text, result.text[-2000:]
    assert "Traceback" not in result.text
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before


def test_resume_without_optimizer_state(stopped: Path, data: Path, tmp_path: Path) -> None:
    """Weights only: updates would be counted from 0."""
    state = load(stopped / "checkpoint_last.pt")
    state["last_optimizer_state"] = None
    torch.save(state, tmp_path / "checkpoint_last.pt")
    result = train(tmp_path, ami_args(data, tmp_path, 6, "--noise-updates", "1"), check=False)
    assert result.code != 0 and "without optimizer state" in result.text and "Traceback" not in result.text
    again = train(tmp_path, ami_args(data, tmp_path, 2))
    assert "no optimizer state is taken over" in again.text


def test_new_run_from_an_old_checkpoint(stopped: Path, data: Path, tmp_path: Path) -> None:
    """What the messages advise: other phases, from the weights of a finished run."""
    last = stopped / "checkpoint_last.pt"
    extra = ["--restore-file", last, "--reset-optimizer", "--reset-dataloader", "--phase-cycle", "backward=1,forward=2"]
    train(tmp_path, ami_args(data, tmp_path, 3, *extra))
    state = load(tmp_path / "checkpoint_last.pt")
    assert state["last_optimizer_state"]["ami"]["counts"] == {"pretrain": 0, "noise": 0, "backward": 1, "forward": 2}
    noise = "latent_noise.hidden.weight"
    assert torch.equal(state["model"][noise], load(last)["model"][noise])
