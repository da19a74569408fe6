"""vae-eval against an evaluation that shares no line with it, on the same weights."""

import json
from pathlib import Path
from typing import Any, List

import pytest
import torch
from functional.plain_vae import PlainVAE, evaluate, read
from functional.settings import train
from functional.vae_settings import MINE, preprocess, sentences, vae_args

from fairseq_ami import cli

SAMPLES, REPEATS = 10, 40
INFORMED = [*MINE, "--mi-weight", "4", "--kl-weight", "0.3", "--inner-optimizer", "adam", "--lr", "0.02"]
MODELS = {
    "plain": [],
    "all parts": [
        "--latent-skip", "--latent-scale", "0.3", "--encoder-bidirectional", "--encoder-max-pooling",
        "--share-word-vectors", "--encoder-dropout", "0.1", "--word-dropout", "0.2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_two_evaluations_agree(name: str, tmp_path: Path) -> None:
    """KL to rounding, active units exactly; -ELBO, MI and IW-NLL within four standard errors of their samples."""
    data = preprocess(tmp_path / "data", {"train": sentences(48, 1), "valid": sentences(150, 2)})
    extra: List[Any] = [*INFORMED, *MODELS[name], "--disable-validation"]
    train(tmp_path, vae_args(data, tmp_path, 60, *extra))
    checkpoint, figures = tmp_path / "checkpoint_last.pt", tmp_path / "figures.json"
    options = ["--subset", "valid", "--iw-samples", str(SAMPLES), "--no-generation", "--cpu", "--json", str(figures)]
    assert cli.main(["vae-eval", str(checkpoint), "--data", str(data), *options]) == 0
    (found,) = json.loads(figures.read_text())["results"]
    torch.manual_seed(5)
    lines = read(tmp_path / "data" / "valid", data / "dict.txt")
    plain = evaluate(PlainVAE(checkpoint), lines, SAMPLES, REPEATS)
    assert found["kl"] == pytest.approx(plain.kl, rel=1e-5) and plain.kl > 1
    assert found["active_units"] == plain.active_units > 0
    assert found["tokens"] == sum(map(len, lines))
    for key in ("nll", "mi", "iw_nll"):
        estimate = getattr(plain, key)
        assert 0 < estimate.error < 0.1
        assert found[key] == pytest.approx(estimate.value, abs=4 * estimate.error), key
    assert plain.nll.value - plain.iw_nll.value > 0.1  # the figures are apart, and so is their agreement
