"""Training and validation on the simulated accelerator equal those on the CPU, in every phase and with every term."""

import sys
import types
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from accelerator import runs
from accelerator.runs import AMI, DIALOGUE, FP16, MINE, PHASES, TRANSLATION, VAE
from functional.settings import NETWORKS
from functional.vae_settings import LAGGING, LM, LSTM, TRANSFORMER

INFOMAX = ["--infomax-dim", "4", "--infomax-weight", "0.2"]
PAPER = ["--baseline", "running-mean", "--reward-scale", "none", "--weight-clip-mode", "absolute", *INFOMAX]
NARROW = ["--sample-topk", "6", "--sample-topp", "0.9", "--sample-temperature", "0.8", "--label-smoothing", "0.1"]
FORCED = ["--sampler", "teacher-forced", "--baseline", "running-mean", "--reward-scale", "running-std"]
AMI_RUNS: Dict[str, List[str]] = {
    "paper, InfoMax": PAPER,
    "centred K, hinge": ["--center-cosine", "--fake-loss", "hinge", "--dropout", "0.3"],
    "unlikelihood, top-k and top-p": ["--fake-loss", "unlikelihood", *NARROW],
    "teacher-forced": FORCED,
    "MMI": ["--objective", "mmi"],
    "maximum likelihood": ["--objective", "mle"],
    "fp16, InfoMax": [*FP16, *INFOMAX],
}
GAME = ["--pretrain-updates", "0", "--noise-updates", "0", "--anchor-weight", "0.3", "--reward-length", "neutral"]
GAME += ["--phase-cycle", "forward=3,backward=1"]
RISK = ["--policy-loss", "minimum-risk", "--risk-alpha", "0.5", "--num-samples", "3", "--no-latent-noise"]
REWARDED: Dict[str, List[str]] = {
    "similarities": [*GAME, "--reward", "log-q,chrf=2,bleu=0.5"],
    "text without references": [*GAME, "--reward", "log-q,mine_of_this_test:words", "--unlabelled", "more"],
    "text without references, fp16": [
        *FP16,
        *GAME,
        "--reward",
        "log-q,mine_of_this_test:words",
        "--unlabelled",
        "more",
    ],
    "minimum risk": [*GAME, *RISK, "--reward", "chrf,constant"],
}
VAE_RUNS: Dict[str, List[str]] = {
    "VAE": ["--kl-anneal", "linear", "--kl-anneal-updates", "2"],
    "running xi": MINE,
    "xi of the batch, rolled": [*MINE, "--xi", "optimal", "--negatives", "roll"],
    "xi as printed": [*MINE, "--xi", "paper"],
    "fixed xi": [*MINE, "--xi", "fixed", "--critic", "separable"],
    "dv": [*MINE, "--mi-estimator", "dv", "--critic", "bilinear"],
    "nwj": [*MINE, "--mi-estimator", "nwj", "--critic-features", "words"],
    "infonce": [*MINE, "--mi-estimator", "infonce"],
    "js": [*MINE, "--mi-estimator", "js"],
    "bag of words, word dropout": ["--bow-hidden", "6", "--bow-weight", "0.5", "--word-dropout", "0.3"],
    "MMD, free bits": ["--mmd-weight", "2", "--free-bits", "0.1"],
    "lagging": [*LAGGING, *MINE, "--lagging-interval", "1"],
    "fp16": [*FP16, *MINE],
}
# What is nearly zero must not become a large step of Adam.
GENTLE = ["--inner-optimizer-args", '{"adam_eps": 0.001}']


def tolerance(flags: List[str]) -> float:
    """Transformers agree bit for bit, LSTMs to rounding; half precision rounds coarsely."""
    if "--fp16" in flags:
        return 5e-3
    return 1e-5 if any("lstm" in flag for flag in flags) else 0.0


def compare(folder: Path, flags: List[str], batches: List[Any], count: int) -> None:
    """The same updates and the same validation on the CPU and on the device."""
    found = []
    for on_device in (False, True):
        with runs.device(on_device):
            run = runs.trainer(folder, flags, on_device)
            steps = runs.updates(run, batches, count)
            found.append({"steps": steps, "valid": dict(run.valid_step(batches[0]))})
    different = runs.differences(*found, tolerance(flags))
    assert not different, different[:20]


@pytest.mark.parametrize("name", AMI_RUNS)
def test_ami_transformer(name: str, tmp_path: Path) -> None:
    flags = [*TRANSLATION, *NETWORKS["transformer"], *AMI, *AMI_RUNS[name], *GENTLE]
    compare(tmp_path, flags, runs.pairs(runs.dictionary(tmp_path)), len(PHASES))


@pytest.mark.parametrize("name", REWARDED)
def test_rewards(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slope of rewards on lengths is known from the second update on. Functions of one's own get plain values."""
    module = types.ModuleType("mine_of_this_test")
    module.words = lambda sampled: np.array([len(set(ids)) / 4 for ids in sampled.output_ids])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    flags = [*TRANSLATION, *NETWORKS["transformer"], *AMI, *REWARDED[name], *GENTLE]
    symbols = runs.dictionary(tmp_path)
    batches = runs.pairs(symbols)
    compare(tmp_path, flags, runs.with_unlabelled(symbols, batches) if "--unlabelled" in flags else batches, 4)


@pytest.mark.parametrize("name", ["paper, InfoMax", "fp16, InfoMax"])
def test_ami_lstm(name: str, tmp_path: Path) -> None:
    flags = [*TRANSLATION, *NETWORKS["lstm"], *AMI, *AMI_RUNS[name], *GENTLE]
    compare(tmp_path, flags, runs.pairs(runs.dictionary(tmp_path)), len(PHASES))


@pytest.mark.parametrize("network", NETWORKS)
def test_dialogue(network: str, tmp_path: Path) -> None:
    """Batches bring the backward network's view of them, and its context before a sampled reply."""
    flags = [*DIALOGUE, *NETWORKS[network], *AMI, *INFOMAX, *GENTLE]
    batches = runs.pairs(runs.dictionary(tmp_path), dialogue=True)
    compare(tmp_path, flags, batches, len(PHASES))


@pytest.mark.parametrize("name", VAE_RUNS)
def test_text_vae(name: str, tmp_path: Path) -> None:
    flags = [*VAE, *TRANSFORMER, *VAE_RUNS[name]]
    compare(tmp_path, flags, runs.sentences(runs.dictionary(tmp_path)), 4)


@pytest.mark.parametrize("name", ["running xi", "bag of words, word dropout", "fp16"])
def test_text_vae_lstm(name: str, tmp_path: Path) -> None:
    flags = [*VAE, *LSTM, *VAE_RUNS[name]]
    batches = runs.sentences(runs.dictionary(tmp_path))
    compare(tmp_path, flags, batches, 4)


def test_language_model(tmp_path: Path) -> None:
    batches = runs.sentences(runs.dictionary(tmp_path))
    compare(tmp_path, [*VAE, *LM], batches, 2)
