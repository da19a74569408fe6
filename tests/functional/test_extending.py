"""The Python blocks of docs/extending.md, as a folder for --user-dir: they train, and do what the page says."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from functional.checkpoints import load
from functional.commands import ROOT
from functional.settings import TRANSFORMER_SIZES, ami_args, train

PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMAND = ["--criterion", "ami_small_words", "--reward", "log-q=1,my_parts:brief=0.1"]


@pytest.fixture
def my_parts(tmp_path: Path) -> Path:
    folder = tmp_path / "my_parts"
    folder.mkdir()
    (folder / "__init__.py").write_text("\n".join(BLOCKS))
    return folder


def test_parts_of_ones_own_train(my_parts: Path, data: Path, tmp_path: Path) -> None:
    """The command of the page, with each part in use: reward, objective and model."""
    assert all(word in PAGE for word in ("--user-dir my_parts", "--arch ami_end_noise", " ".join(COMMAND[2:])))
    network = ["--arch", "ami_end_noise", *TRANSFORMER_SIZES]
    args = ami_args(data, tmp_path / "run", 6, *COMMAND, "--user-dir", my_parts, network=network)
    result = train(tmp_path / "run", args)
    forward = [log for log in result.logs("train_inner") if log["phase"] == "2"]
    assert forward and all(float(log["reward_brief_forward"]) < 0 for log in forward)
    state = load(tmp_path / "run" / "checkpoint_last.pt")
    assert state["cfg"]["criterion"]["word_weight"] == 0.01 and state["cfg"]["model"].arch == "ami_end_noise"


def test_reward_of_the_front_page() -> None:
    names: dict = {}
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    exec(block, names)
    assert names["brief"](SimpleNamespace(outputs=["ein Hund", "", "ja ."])) == [-2, 0, -2]


def test_the_noise_moves_the_end_symbol_only(my_parts: Path) -> None:
    """What EndLatent puts back differs from what it took in the last position alone."""
    names: dict = {}
    exec(re.sub(r"@register_model(_architecture)?\(.*\)", "", BLOCKS[2]), names)
    states = torch.arange(24.0).view(3, 2, 4)
    z, mask = names["EndLatent"].get({"encoder_out": [states]})
    assert torch.equal(z, states[2:]) and mask is None
    moved = names["EndLatent"].replace({"encoder_out": [states]}, z + 1)["encoder_out"][0]
    assert torch.equal(moved - states, torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1).expand(3, 2, 4))
