"""Command lines and the corpus that the tests of the text VAE have in common."""

import random
from pathlib import Path
from typing import Any, Dict, List, Sequence

from functional.commands import run
from functional.settings import COMMON

WORDS = [f"w{index}" for index in range(12)]
SIZES = ["--embed-dim", "8", "--hidden-size", "8", "--max-target-positions", "12"]
LSTM = ["--arch", "text_vae_lstm_tiny", *SIZES, "--latent-dim", "4"]
LM = ["--arch", "text_lm_lstm_tiny", *SIZES]
TRANSFORMER = ["--arch", "text_vae_transformer_tiny", "--max-target-positions", "12"]
CRITIC = ["--critic", "concat", "--critic-hidden", "8"]
MINE = [*CRITIC, "--mi-weight", "1"]
LAGGING = ["--lagging", "--lagging-limit", "5", "--lagging-window", "2"]
SKIP = ["--latent-skip"]
FREE_BITS = ["--free-bits", "0.05", "--free-bits-per", "sentence"]
WEIGHTED = ["--iw-train", "3", "--iw-gradient", "dreg", "--iw-after-updates", "8"]
TARGET = [*CRITIC, "--mi-weight", "0.5", "--mi-target", "2", "--mi-target-rate", "0.1"]
VARIANTS = ["--encoder-bidirectional", "--encoder-max-pooling", "--encoder-dropout", "0.2", "--share-word-vectors"]
VARIANTS += ["--encoder-word-dropout", "0.2"]
PLATEAU = ["--lr-scheduler", "reduce_lr_on_plateau", "--lr-shrink", "0.5", "--lr-patience", "0"]
PLATEAU += ["--lr-threshold", "0.05"]


def sentences(count: int, seed: int) -> List[str]:
    """2 to 6 words that follow each other in a circle, from a random start."""
    rng = random.Random(seed)
    starts = [(rng.randrange(len(WORDS)), rng.randint(2, 6)) for _ in range(count)]
    return [" ".join(WORDS[(start + i) % len(WORDS)] for i in range(length)) for start, length in starts]


def preprocess(folder: Path, texts: Dict[str, Sequence[str]], *options: Any) -> Path:
    """Raw text through ``fairseq-preprocess --only-source``."""
    folder.mkdir(parents=True, exist_ok=True)
    argv: List[Any] = ["--only-source", "--destdir", folder / "bin", "--workers", 1, *options]
    for name, lines in texts.items():
        (folder / name).write_text("".join(line + "\n" for line in lines))
        argv.append(f"--{name}pref={folder / name}")
    run("preprocess", argv, folder / "preprocess.log")
    return folder / "bin"


def vae_args(data: Path, save_dir: Path, updates: int, *extra: Any, network: Sequence[str] = LSTM) -> List[Any]:
    """A short run with validation at the end of each epoch; a later flag overrules an earlier one."""
    return [
        data, *COMMON, "--task", "text_vae", *network, "--criterion", "vae_mine_elbo", "--optimizer", "ami_phased",
        "--inner-optimizer", "sgd", "--lr", "0.5", "--clip-norm", "5", "--batch-size", "8", "--max-update", updates,
        "--required-batch-size-multiple", "1", "--save-dir", save_dir, *extra,
    ]  # fmt: skip
