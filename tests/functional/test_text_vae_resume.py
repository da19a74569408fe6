"""A text VAE that is killed and resumed equals the uninterrupted run, bit for bit."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import assert_identical, assert_same_state, load
from functional.commands import start
from functional.recorder import free_port
from functional.settings import FP16, train, workers_args
from functional.vae_settings import (
    CRITIC,
    FREE_BITS,
    LAGGING,
    MINE,
    PLATEAU,
    SKIP,
    TARGET,
    TRANSFORMER,
    VARIANTS,
    WEIGHTED,
    vae_args,
)

UPDATES, KILLED_AT = 20, "checkpoint_2_9.pt"  # an epoch is six updates
EVERY = ["--save-interval-updates", "1"]  # fairseq validates before each
LONG_LAGGING = ["--lagging", "--lagging-limit", "7", "--lagging-window", "3", "--disable-validation"]
CASES: Dict[str, List[Any]] = {
    "mine, ema": [*MINE, "--xi", "ema", "--patience", "100", "--word-dropout", "0.3"],
    "plateau": [*MINE, *PLATEAU, "--lr-threshold", "0.5", "--critic-lr", "0.01", "--critic-optimizer", "adam"],
    "inner loop": [*MINE, *LONG_LAGGING],  # the second one is at its first step
    "lagging with validation": [*CRITIC, *LAGGING, "--lr", "0.3"],
    "fp16": [*MINE, "--critic-features", "words", *FP16, "--lr", "0.1", *LONG_LAGGING],
    "weighted": [*SKIP, *FREE_BITS, *WEIGHTED, *TARGET, *VARIANTS, "--mi-target-of", "valid-information"],
    "weighted, fp16": [*SKIP, *FREE_BITS, *WEIGHTED, *TARGET, *VARIANTS, *FP16, "--lr", "0.1"],
}


def resumable(data: Path, folder: Path, *extra: Any, **kwargs: Any) -> List[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return vae_args(data, folder, UPDATES, *EVERY, *extra, **kwargs)


def assert_same_run(straight: Path, broken: Path) -> Dict[str, Any]:
    """Also what the task keeps; returns what the optimizer keeps of the run."""
    assert_same_state(straight / "checkpoint_last.pt", broken / "checkpoint_last.pt")
    one, two = (load(folder / "checkpoint_last.pt") for folder in (straight, broken))
    assert_identical(*(state["extra_state"]["TextVAETask"] for state in (one, two)))
    return two["last_optimizer_state"]


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed(case: str, vae_data: Path, tmp_path: Path) -> None:
    train(tmp_path / "straight", resumable(vae_data, tmp_path / "straight", *CASES[case]))
    args = resumable(vae_data, tmp_path / "broken", *CASES[case])
    start("train", args, tmp_path / "broken" / "killed.log").kill_when(tmp_path / "broken" / KILLED_AT)
    assert "Loaded checkpoint" in train(tmp_path / "broken", args).text
    state = assert_same_run(tmp_path / "straight", tmp_path / "broken")
    trackers, counts = state["ami"]["trackers"], state["ami"]["counts"]
    if case == "mine, ema":
        assert trackers["exp_scores"]["mean"]["joint"] > 0 and counts["joint"] == UPDATES
    if case == "plateau":
        rates = {player: state[player]["param_groups"][0]["lr"] for player in ("encoder", "decoder", "critic")}
        assert rates["decoder"] == rates["encoder"] < 0.5
        assert rates["critic"] == pytest.approx(0.01 * rates["decoder"] / 0.5)  # --lr 0.5
    if case == "inner loop":
        assert counts["inner"] + counts["outer"] == UPDATES and counts["outer"] >= 2
    if "weighted" in case:
        assert 0 < trackers["mi_weight"]["value"] != 0.5
    if case == "lagging with validation":
        assert sum(trackers["lagging"]["_validation"]) > 0  # written between a validation and the next update


def test_two_workers(vae_data: Path, tmp_path: Path) -> None:
    """The running mean of E[e^f] and the inner loop are those of both workers."""
    extra = [*MINE, *LAGGING, "--batch-size", "4", "--lr", "0.3"]
    for name in ("straight", "broken"):
        args = resumable(vae_data, tmp_path / name, *extra)
        for killed in [True, False] if name == "broken" else [False]:
            port = free_port()
            workers = [
                start("train", [*args, *workers_args(2, rank, port)], tmp_path / name / f"{rank}.log")
                for rank in range(2)
            ]
            if killed:
                workers[0].kill_when(tmp_path / name / KILLED_AT)
                workers[1].kill()
            else:
                for worker in workers:
                    result = worker.wait()
                    assert result.code == 0, result.text[-4000:]
    assert_same_run(tmp_path / "straight", tmp_path / "broken")


@pytest.fixture(scope="module")
def stopped(vae_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped-vae")
    train(folder, vae_args(vae_data, folder, 2, *MINE))
    return folder / "checkpoint_last.pt"


REFUSED = {
    "latent scale": ([*MINE, "--latent-scale", "0.3"], "was trained with --latent-scale 1.0, this run has 0.3"),
    "latent size": ([*MINE, "--latent-dim", "5"], "was trained with --latent-dim 4, this run has 5"),
    "no critic": ([], "--critic concat, this run has none"),
    "critic's size": ([*MINE, "--critic-hidden", "9"], "--critic-hidden 8, this run has 9"),
    "critic's features": ([*MINE, "--critic-features", "words"], "--critic-features encoder, this run has words"),
    "hidden size": ([*MINE, "--hidden-size", "9"], "--hidden-size 8, this run has 9"),
    "skip": ([*MINE, "--latent-skip"], "--latent-skip False, this run has True"),
    "shared words": ([*MINE, "--share-word-vectors"], "--share-word-vectors False, this run has True"),
    "both directions": ([*MINE, "--encoder-bidirectional"], "--encoder-bidirectional False, this run has True"),
    "pooling": ([*MINE, "--encoder-max-pooling"], "--encoder-max-pooling False, this run has True"),
    "bag of words": ([*MINE, "--bow-hidden", "9"], "--bow-hidden 0, this run has 9"),
}


def refused(folder: Path, args: List[Any], message: str) -> None:
    """Nothing is written over."""
    before = (folder / "checkpoint_last.pt").read_bytes()
    result = train(folder, args, check=False)
    assert result.code != 0 and message in result.text, result.text[-2000:]
    assert "Traceback" not in result.text
    assert (folder / "checkpoint_last.pt").read_bytes() == before


@pytest.mark.parametrize("case", REFUSED)
def test_another_model(case: str, stopped: Path, vae_data: Path, tmp_path: Path) -> None:
    extra, message = REFUSED[case]
    (tmp_path / "checkpoint_last.pt").write_bytes(stopped.read_bytes())
    refused(tmp_path, vae_args(vae_data, tmp_path, 4, *extra), message)


def test_another_architecture(stopped: Path, vae_data: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint_last.pt").write_bytes(stopped.read_bytes())
    message = "is of --arch text_vae_lstm_tiny, not text_vae_transformer_tiny"
    refused(tmp_path, vae_args(vae_data, tmp_path, 4, *MINE, network=TRANSFORMER), message)


def test_a_checkpoint_of_something_else(vae_data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "checkpoint_last.pt").write_bytes(stock["forward"].read_bytes())
    refused(tmp_path, vae_args(vae_data, tmp_path, 4), "is no checkpoint of a text VAE")


def test_the_attention_heads_do_not_show_in_the_weights(vae_data: Path, tmp_path: Path) -> None:
    train(tmp_path, vae_args(vae_data, tmp_path, 2, network=TRANSFORMER))
    args = vae_args(vae_data, tmp_path, 4, "--attention-heads", "4", network=TRANSFORMER)
    refused(tmp_path, args, "--attention-heads 2, this run has 4")


def test_weights_of_another_run_as_a_start(stopped: Path, vae_data: Path, tmp_path: Path) -> None:
    """What the messages advise: the ELBO's weights, a new optimizer, updates from 0."""
    extra = [*MINE, "--restore-file", stopped, "--reset-optimizer", "--reset-dataloader", "--lr", "1e-9"]
    train(tmp_path, vae_args(vae_data, tmp_path, 2, *extra))
    one, two = load(stopped)["model"], load(tmp_path / "checkpoint_last.pt")["model"]
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0)


NEW = ("latent_skip", "share_word_vectors", "encoder_bidirectional", "encoder_max_pooling", "encoder_dropout",
       "encoder_word_dropout", "encoder_checkpoint")  # fmt: skip


def test_a_checkpoint_of_an_older_version(stopped: Path, vae_data: Path, tmp_path: Path) -> None:
    """Without the settings that it did not know: it goes on as the whole one does, and a switch is still refused."""
    straight, old = tmp_path / "straight", tmp_path / "old"
    for folder in (straight, old):
        folder.mkdir()
    (straight / "checkpoint_last.pt").write_bytes(stopped.read_bytes())
    state = torch.load(stopped, weights_only=False)
    for name in NEW:
        del state["cfg"]["model"][name]
    for name in ("free_bits_per", "iw_train", "iw_gradient", "mi_target", "mi_target_of"):
        del state["cfg"]["criterion"][name]
    torch.save(state, old / "checkpoint_last.pt")
    for folder in (straight, old):
        assert "Loaded checkpoint" in train(folder, vae_args(vae_data, folder, 4, *MINE)).text
    assert_same_run(straight, old)
    torch.save(state, old / "checkpoint_last.pt")
    for option in ("--latent-skip", "--encoder-max-pooling"):
        refused(old, vae_args(vae_data, old, 4, *MINE, option), f"{option} None, this run has True")
