"""Bad input for the text VAE: a non-zero exit, a message that says what to do, nothing half-written."""

from functools import partial
from pathlib import Path
from typing import Any, List

import pytest
import torch
from functional.checkpoints import load
from functional.commands import run
from functional.settings import COMMON, train
from functional.test_bad_input import _break_at, refused
from functional.vae_settings import CRITIC, LM, LSTM, MINE, TRANSFORMER, preprocess, sentences, vae_args

REFUSED = {
    "energy function": (["--mi-weight", "1"], "pass --critic concat"),
    "bag of words": (["--bow-weight", "1"], "pass --bow-hidden 512"),
    "negative weight": (["--free-bits", "-1"], "--free-bits must not be negative"),
    "slope": ([*MINE, "--xi", "fixed", "--xi-value", "0"], "--xi-value must be positive"),
    "running mean": ([*MINE, "--xi-decay", "1"], "--xi-decay must be in [0, 1)"),
    "interval": (["--lagging", "--lagging-interval", "-1"], "--lagging-interval must not be negative"),
    "window": (["--lagging", "--lagging-window", "0"], "--lagging-window"),
    "annealing without length": (["--kl-anneal", "linear"], "pass --kl-anneal-updates or --kl-anneal-epochs"),
    "two lengths": (
        ["--kl-anneal", "linear", "--kl-anneal-updates", "3", "--kl-anneal-epochs", "1"],
        "--kl-anneal-updates and --kl-anneal-epochs say the same thing",
    ),
    "cycles": (["--kl-anneal", "cyclic", "--kl-anneal-updates", "3", "--kl-cycles", "9"], "--kl-cycles"),
    "no language model": (["--language-model", "lm.pt"], "--language-model: there is no file lm.pt"),
    "sizes": (["--hidden-size", "0"], "--hidden-size must be at least 1"),
    "word dropout": (["--word-dropout", "1"], "--word-dropout must be in [0, 1)"),
    "stock criterion": (["--criterion", "cross_entropy"], "--criterion vae_mine_elbo"),
    "critic's optimizer": ([*CRITIC, "--critic-optimizer", "nothing"], "--critic-optimizer: fairseq has no 'nothing'"),
    "player of a pair": (["--forward-lr", "0.1"], "--forward-lr is for the forward network"),
    "box of a pair": (["--weight-clip", "0.1"], "--weight-clip is for the backward network"),
    "player that is not there": (["--critic-lr", "0.1"], "(players: decoder, encoder): leave it out"),
    "scheduler of followers": (["--inner-lr-scheduler", "step"], "leave it out and use --lr-scheduler"),
    "flattened fp16": (["--fp16"], "--fp16-no-flatten-grads"),
    "bf16 on the command line": (["--bf16"], "common.bf16=true"),
}
REFUSED_LM = {
    "mmd": (["--mmd-weight", "1"], "a language model has none"),
    "lagging": (["--lagging"], "a language model has none"),
    "critic": (CRITIC, "--critic needs a latent variable"),
    "bag of words": (["--bow-hidden", "8"], "--bow-hidden needs a latent variable"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings(case: str, vae_data: Path, tmp_path: Path) -> None:
    extra, message = REFUSED[case]
    refused(tmp_path, vae_args(vae_data, tmp_path, 2, *extra), message)


@pytest.mark.parametrize("case", REFUSED_LM)
def test_language_model(case: str, vae_data: Path, tmp_path: Path) -> None:
    extra, message = REFUSED_LM[case]
    refused(tmp_path, vae_args(vae_data, tmp_path, 2, *extra, network=LM), message)


def test_attention_heads(vae_data: Path, tmp_path: Path) -> None:
    args = vae_args(vae_data, tmp_path, 2, "--attention-heads", "3", network=TRANSFORMER)
    refused(tmp_path, args, "--embed-dim 16 must be a multiple of --attention-heads 3")


def test_stock_optimizer(vae_data: Path, tmp_path: Path) -> None:
    args = [arg for arg in vae_args(vae_data, tmp_path, 2, "--optimizer", "sgd") if arg != "--inner-optimizer"]
    args.remove("sgd")  # its value
    refused(tmp_path, args, "--optimizer ami_phased")


def test_stock_architecture(vae_data: Path, tmp_path: Path) -> None:
    refused(tmp_path, vae_args(vae_data, tmp_path, 2, network=["--arch", "lstm_lm"]), "--arch text_vae_lstm")


def test_stock_task(vae_data: Path, tmp_path: Path) -> None:
    argv: List[Any] = [vae_data, *COMMON, "--task", "language_modeling", *LSTM, "--criterion", "vae_mine_elbo"]
    argv += ["--optimizer", "ami_phased", "--batch-size", "8", "--max-update", "2", "--save-dir", tmp_path]
    result = run("train", argv, tmp_path / "train.log", check=False)
    assert result.code != 0 and not list(tmp_path.glob("checkpoint*"))


# ---------------------------------------------------------------------- data


def test_no_data(vae_data: Path, tmp_path: Path) -> None:
    refused(tmp_path, vae_args(tmp_path, tmp_path, 2), "make the data with `fairseq-preprocess --only-source")
    (tmp_path / "dict.txt").write_text((vae_data / "dict.txt").read_text())
    refused(tmp_path, vae_args(tmp_path, tmp_path, 2), "make it with `fairseq-preprocess --only-source")


def test_empty_lines_and_unknown_words(tmp_path: Path) -> None:
    """Left out with a count; a word that the dictionary lacks is an ordinary symbol; one sentence makes a batch."""
    lines = sentences(15, 1)
    lines[3:3] = ["", "", ""]
    data = preprocess(tmp_path / "data", {"train": lines, "valid": ["w1 never-seen w2", "", *sentences(8, 2)]})
    result = train(tmp_path, vae_args(data, tmp_path, 3, "--batch-size", "7", *MINE))
    assert "3 empty lines are left out, 15 sentences stay" in result.text
    assert "1 empty lines are left out, 9 sentences stay" in result.text
    assert result.text.count("a batch of one sentence has no independent pair") == 1
    assert "nan" not in str(result.logs("train_inner")).lower()


def test_only_empty_lines(tmp_path: Path) -> None:
    data = preprocess(tmp_path / "data", {"train": sentences(9, 1), "valid": ["", "", ""]})
    refused(tmp_path, vae_args(data, tmp_path, 2), "holds no sentence: all of its 3 lines are empty")


def test_long_sentences(tmp_path: Path) -> None:
    """Skipped in training with fairseq's warning; in validation fairseq stops and names the flag that skips them."""
    long = " ".join(f"w{i}" for i in range(11)) + " w1"  # 13 tokens with the end symbol, one too many
    fits = " ".join(f"w{i}" for i in range(11))
    data = preprocess(tmp_path / "train", {"train": [*sentences(15, 1), long, fits], "valid": sentences(8, 2)})
    text = train(tmp_path, vae_args(data, tmp_path, 3)).text
    assert "1 samples have invalid sizes and will be skipped" in text
    data = preprocess(tmp_path / "valid", {"train": sentences(16, 1), "valid": [*sentences(8, 2), long]})
    args = vae_args(data, tmp_path / "run", 2)
    refused(tmp_path / "run", args, "--skip-invalid-size-inputs-valid-test", ours=False)
    train(tmp_path / "run", [*args, "--skip-invalid-size-inputs-valid-test"])


def test_the_longest_sentence_that_fits(tmp_path: Path) -> None:
    """For the Transformer as well, whose positions are counted."""
    fits = " ".join(f"w{i}" for i in range(11))
    data = preprocess(tmp_path / "data", {"train": [*sentences(15, 1), fits], "valid": [fits, fits]})
    result = train(tmp_path, vae_args(data, tmp_path, 2, network=TRANSFORMER))
    assert "will be skipped" not in result.text and len(result.logs("valid")) == 1


# ---------------------------------------------------------------------- numbers


def test_not_a_number(vae_data: Path, tmp_path: Path) -> None:
    """Training stops; what was saved before is whole, and the run goes on from there."""
    args = vae_args(vae_data, tmp_path, 7, "--save-interval-updates", "1")
    result = train(tmp_path, args, check=False, hook=partial(_break_at, 5))
    assert result.code != 0 and "training stops" in result.text and "--encoder-clip-norm" in result.text
    assert "Traceback" not in result.text
    weights = load(tmp_path / "checkpoint_last.pt")["model"].values()
    assert all(bool(torch.isfinite(value).all()) for value in weights)
    train(tmp_path, args)
    assert load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 7
