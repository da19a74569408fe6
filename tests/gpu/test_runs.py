"""Resuming and decoding on the device."""

from pathlib import Path
from typing import Any, Dict, List

import pytest
from functional.checkpoints import assert_same_state
from functional.commands import PLUGIN, Result, run, start
from functional.settings import NETWORKS, ami_args
from functional.test_decoding import DIRECTIONS, PLAIN, hypotheses, words
from functional.vae_settings import LSTM, MINE, TRANSFORMER, vae_args
from gpu.device import DEVICE, FP16, deterministic, here

UPDATES, KILLED_AT = 10, 5
RATES = [f"--{player}-lr=0.01" for player in ("forward", "backward", "noise")]
VAE_NETWORKS = {"lstm": LSTM, "transformer": TRANSFORMER}


def kill_and_resume(args: Any, folder: Path) -> None:
    """A straight run and one that is killed on the way end in the same state, bit for bit."""
    for name in ("straight", "broken"):
        options = [*here(args), "--save-interval-updates", "1", "--save-dir", folder / name]
        if name == "broken":
            killed = start("train", options, folder / "killed.log", hook=deterministic)
            killed.kill_when(folder / name / f"checkpoint_1_{KILLED_AT}.pt")
        result = run("train", options, folder / f"{name}.log", hook=deterministic)
        assert ("Loaded checkpoint" in result.text) == (name == "broken")
    assert_same_state(*(folder / name / "checkpoint_last.pt" for name in ("straight", "broken")))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_resume(network: str, precision: str, data: Path, tmp_path: Path) -> None:
    extra = [*RATES, "--dropout", "0.2", *(FP16 if precision == "fp16" else [])]
    kill_and_resume(ami_args(data, tmp_path, UPDATES, *extra, network=NETWORKS[network]), tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("network", VAE_NETWORKS)
def test_resume_of_a_text_vae(network: str, precision: str, vae_data: Path, tmp_path: Path) -> None:
    extra = [*MINE, "--lr", "0.1", "--lagging", "--lagging-limit", "3", "--lagging-window", "2", "--disable-validation"]
    extra += ["--max-epoch", "3", *(FP16 if precision == "fp16" else [])]
    kill_and_resume(vae_args(vae_data, tmp_path, UPDATES, *extra, network=VAE_NETWORKS[network]), tmp_path)


def generate(data: Path, checkpoint: Path, folder: Path, *extra: Any) -> Result:
    return run("generate", [data, "--path", checkpoint, *here(PLAIN), "--user-dir", PLUGIN, *extra], folder / "log")


def texts(result: Result) -> List[str]:
    return [words(line) for line in hypotheses(result)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_decoding(direction: str, data: Path, stock: Dict[str, Path], trained: Path, tmp_path: Path) -> None:
    """The pair decodes as the stock network does, in float32 and in half precision."""
    for precision in ([], ["--fp16"]):
        if precision and DEVICE == "cpu":
            continue  # half-precision search is for GPUs
        pair = generate(data, trained, tmp_path, *DIRECTIONS[direction], *precision, "--task", "ami_translation")
        plain = generate(data, stock[direction], tmp_path, *DIRECTIONS[direction], *precision)
        assert hypotheses(pair) == hypotheses(plain)


def test_decoding_under_noise(data: Path, trained: Path, tmp_path: Path) -> None:
    """The same draws as on the CPU."""
    loud = ["--task", "ami_translation", "--latent-noise-draws", "3", "--nbest", "3"]
    loud += ["--model-overrides", "{'noise_scale': 4.0}"]
    one, two = generate(data, trained, tmp_path, *loud), generate(data, trained, tmp_path, *loud, "--cpu")
    assert texts(one) == texts(two) and len(set(texts(one))) > 3
