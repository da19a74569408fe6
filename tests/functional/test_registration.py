"""Importing the package registers everything, whoever imports it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# By hand, and as fairseq's commands do with --user-dir.
OTHERS = {
    "script.py": "import fairseq_ami",
    "cli.py": "import argparse, fairseq.utils\n"
    f"fairseq.utils.import_user_module(argparse.Namespace(user_dir={str(ROOT / 'fairseq_ami')!r}))",
}
REGISTERED = """
import sys
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.optim import OPTIMIZER_REGISTRY
from fairseq.tasks import TASK_REGISTRY

assert {"ami_translation", "ami_dialog", "dialog_gan", "text_vae"} <= set(TASK_REGISTRY)
assert {"ami_transformer", "ami_lstm", "text_vae_lstm", "text_vae_transformer"} <= set(ARCH_MODEL_REGISTRY)
assert {"dialog_gan", "dialog_discriminator"} <= set(ARCH_MODEL_REGISTRY)
assert {"ami_minimax", "dialog_gan", "vae_mine_elbo"} <= set(CRITERION_REGISTRY)
assert "ami_phased" in OPTIMIZER_REGISTRY
assert sys.excepthook.shows_ami_errors
assert torch.serialization.get_safe_globals()
"""


@pytest.mark.parametrize("name", OTHERS)
def test_whoever_else_imports_the_package_registers_everything(tmp_path, name):
    script = tmp_path / name
    script.write_text(OTHERS[name] + "\n" + REGISTERED)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
