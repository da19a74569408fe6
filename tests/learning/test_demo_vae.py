"""The demo of the text VAEs reaches what it is there to show, on a seed that nobody tuned it for."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "examples" / "toy_vae"

pytestmark = pytest.mark.slow
FLOOR = math.log(8 * 4 * (4 * 3 * 4 * 3) * 8)  # all sentences of the corpus are equally likely


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder of a whole run with seed 4, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, TOY / "run_vae_demo.py", "--work", folder, "--seed", "4"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder, result.stdout


@pytest.fixture(scope="module")
def measured(demo):
    """Name -> what vae-eval found."""
    return {row["name"]: row for row in json.loads((demo[0] / "eval.json").read_text())["results"]}


def test_language_model_nears_the_entropy(measured):
    assert FLOOR - 0.05 < measured["LSTM-LM"]["nll"] < FLOOR + 0.4


def test_vae_collapses(measured):
    vae = measured["VAE"]
    assert vae["kl"] < 0.1 and vae["mi"] < 0.1
    assert vae["nll"] < measured["LSTM-LM"]["nll"] + 0.3


def test_vae_mine_does_not(measured):
    """Information in the latent variable, at hardly any cost in likelihood."""
    mine = measured["VAE-MINE"]
    assert mine["kl"] > 1 and mine["mi"] > 1 and mine["active_units"] > 0
    assert mine["mi"] <= mine["kl"] + 0.05
    assert mine["nll"] < measured["LSTM-LM"]["nll"] + 0.9
    assert FLOOR - 0.05 < mine["iw_nll"] < mine["nll"]


def test_table_samples_and_figures(demo):
    """What the user sees at the end is there; sentences from the prior are mostly the corpus's."""
    folder, text = demo
    words = ("LSTM-LM", "VAE-MINE", f"{FLOOR:.2f} nats", "z from the prior", "between two sentences")
    assert all(word in text for word in words)
    for name in ("training.png", "latent.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    code = "import corpus, json, sys; print(json.dumps([choice.text for choice in corpus.every_choice()]))"
    known = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TOY, check=True).stdout
    samples = json.loads((folder / "look.json").read_text())["prior"]
    assert len(set(samples)) >= 4
    assert len(set(samples) & set(json.loads(known))) >= len(set(samples)) / 2
