"""What a new user tries first: the example's YAML file with relative paths, and commands that lack something."""

import shutil
from pathlib import Path
from typing import Dict, List

import pytest
from functional.commands import PLUGIN, ROOT, run


@pytest.fixture
def folder(data: Path, stock: Dict[str, Path], tmp_path: Path) -> Path:
    """Data and networks under short names, as a user has them."""
    (tmp_path / "data-bin").symlink_to(data)
    for name, path in stock.items():
        shutil.copy(path, tmp_path / f"{name}.pt")
    return tmp_path


def hydra(folder: Path, *given: str) -> List[str]:
    return ["--config-dir", str(ROOT / "examples" / "multi30k" / "config"), "--config-name", "ami", *given]


def test_relative_paths_from_yaml(folder: Path) -> None:
    """The example's configuration stays in the folder where it was started, and writes there."""
    (folder / "fairseq_ami").symlink_to(PLUGIN)  # the default of common.user_dir: a checkout
    networks = ["model.forward_checkpoint=forward.pt", "model.backward_checkpoint=backward.pt"]
    short = ["common.cpu=true", "optimization.max_update=4", "task.noise_updates=1", "dataset.num_workers=0"]
    short += ["checkpoint.save_dir=run", "dataset.disable_validation=true", "common.log_interval=1"]
    short += ["task.phase_cycle='noise=1,forward=1,backward=1'"]
    result = run("hydra-train", hydra(folder, "task.data=data-bin", *networks, *short), folder / "log", cwd=folder)
    assert result.code == 0 and (folder / "run" / "checkpoint_last.pt").is_file()
    assert not (folder / "outputs").exists()
    lines = [line for line in result.text.splitlines() if "[train_inner]" in line]
    assert len(lines) == 4 and not any("=None" in line for line in lines), "a line holds what its interval logged"
    assert ["reward_forward=" in line for line in lines] == [False, False, True, False]


def test_what_the_yaml_file_leaves_open(folder: Path) -> None:
    given = hydra(folder, f"common.user_dir={PLUGIN}", "common.cpu=true", "model.forward_checkpoint=forward.pt")
    result = run("hydra-train", given, folder / "log", check=False, cwd=folder)
    assert result.code != 0 and "Traceback" not in result.text
    assert "the configuration leaves open model.backward_checkpoint, task.data: give each on" in result.text


def test_validating_without_a_task(folder: Path) -> None:
    given = ["data-bin", "--user-dir", PLUGIN, "--path", "forward.pt", "--cpu", "--max-tokens", "500"]
    result = run("validate", given, folder / "log", check=False, cwd=folder)
    assert result.code != 0 and "Traceback" not in result.text
    assert "fairseq_ami: error: this command of fairseq needs the task of the checkpoint" in result.text
