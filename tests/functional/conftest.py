"""Fixtures of the functional tests: corpora and pretrained networks, made once."""

import os
from pathlib import Path
from typing import Any, Dict, Tuple

import pytest
import torch
from functional import commands
from functional.corpus import SOURCE_WORDS, TARGET_WORDS, binarise, pairs, write_dictionary
from functional.settings import TRANSFORMER_SIZES, ami_args, stock_args, train
from functional.vae_settings import preprocess, sentences

# for the server that forks the commands
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join([str(commands.ROOT / "tests"), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("functional")


@pytest.fixture(scope="session")
def dictionaries(home: Path) -> Dict[str, Path]:
    """Dictionaries of different sizes, so that mixing up the sides crashes."""
    source = write_dictionary(home / "dict.source.txt", SOURCE_WORDS)
    return {"en": source, "de": write_dictionary(home / "dict.target.txt", TARGET_WORDS)}


@pytest.fixture(scope="session")
def data(home: Path, dictionaries: Dict[str, Path]) -> Path:
    """96 sentences, en -> de."""
    return binarise(home / "toy", pairs(96, 1), dictionaries["en"], dictionaries["de"])


@pytest.fixture(scope="session")
def stock(home: Path, data: Path) -> Dict[str, Path]:
    """Checkpoints of stock fairseq Transformers in both directions."""
    folders = {"forward": ("en", "de"), "backward": ("de", "en")}
    for name, (source, target) in folders.items():
        network = ["--arch", "transformer", *TRANSFORMER_SIZES, "-s", source, "-t", target]
        train(home / f"stock-{name}", stock_args(data, home / f"stock-{name}", 80, *network))
    return {name: home / f"stock-{name}" / "checkpoint_last.pt" for name in folders}


@pytest.fixture(scope="session")
def trained(home: Path, data: Path, stock: Dict[str, Path]) -> Path:
    """A checkpoint of the pair whose networks are exactly the pretrained ones (learning rates of 0)."""
    still = ["--forward-lr", "0", "--backward-lr", "0", "--noise-lr", "0", "--weight-clip-mode", "none"]
    names = [f"--{name}-checkpoint={path}" for name, path in stock.items()]
    train(home / "trained", ami_args(data, home / "trained", 6, *names, *still))
    return home / "trained" / "checkpoint_last.pt"


@pytest.fixture(scope="session")
def vae_data(home: Path) -> Path:
    """48 sentences: six updates of eight are an epoch."""
    return preprocess(home / "vae-data", {"train": sentences(48, 1), "valid": sentences(12, 2)})


class _RunsCode:
    """A pickle that would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Tuple[Any, Any]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def malicious(trained: Path, tmp_path: Path) -> Path:
    """A checkpoint that would create ``pwned`` beside it."""
    state = torch.load(trained, weights_only=False)
    state["extra_state"]["surprise"] = _RunsCode(tmp_path / "pwned")
    torch.save(state, tmp_path / "malicious.pt")
    return tmp_path / "malicious.pt"
