"""The text VAE on the device: both networks, in half precision, with the lagging encoder."""

from pathlib import Path
from typing import Any, List

import pytest
from functional.settings import with_validation
from functional.test_text_vae import ALL, D, E, _record, moved, write_yaml
from functional.vae_settings import LSTM, MINE, TRANSFORMER, vae_args
from gpu.device import FP16, here_hydra, train

NETWORKS = {"lstm": LSTM, "transformer": TRANSFORMER}
# fairseq-hydra-train knows no sizes of named architectures: those of text_vae_transformer_tiny
TINY = {"_name": "text_vae_transformer", "embed_dim": 16, "ffn_dim": 32, "num_layers": 2, "attention_heads": 2}


def losses(network: str, precision: str, data: Path, folder: Path) -> List[float]:
    """Validation losses in bits a sentence, of ten epochs."""
    if precision == "bf16":
        folder.mkdir()
        sections: Any = {"common": here_hydra({"bf16": True}), "optimization": {"max_update": 60, "lr": [0.1]}}
        sections["criterion"] = {"kl_anneal": "constant"}
        options = write_yaml(data, folder, model=TINY if network == "transformer" else {}, **sections)
        if network == "transformer":
            options = [*options, "~model.hidden_size"]  # which an LSTM has and a Transformer has not
        result = train(folder, options, command="hydra-train", watch=nothing)[0]
    else:
        extra = [*MINE, "--lr", "0.1", *(FP16 if precision == "fp16" else [])]
        result = train(folder, vae_args(data, folder, 60, *extra, network=NETWORKS[network]), watch=nothing)[0]
    return [float(log["valid_loss"]) for log in result.logs("valid")]


def nothing(path: str) -> None:
    """No recorder: that of the pairs does not know these players."""


@pytest.mark.parametrize("network", NETWORKS)
def test_half_precision_reaches_the_result_of_float32(network: str, vae_data: Path, tmp_path: Path) -> None:
    runs = {name: losses(network, name, vae_data, tmp_path / name) for name in ("fp32", "fp16", "bf16")}
    learnt = runs["fp32"][0] - runs["fp32"][-1]
    assert len(runs["fp32"]) == 10 and learnt > 0.5
    for precision in ("fp16", "bf16"):
        assert abs(runs[precision][-1] - runs["fp32"][-1]) < 0.15 * learnt, (precision, runs)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("network", NETWORKS)
def test_lagging_moves_the_encoder_alone(network: str, precision: str, vae_data: Path, tmp_path: Path) -> None:
    """Three steps of the encoder, one of decoder and critic; the idle ones bit-identical."""
    extra = [*MINE, "--lagging", "--lagging-limit", "3", "--disable-validation", "--inner-optimizer", "adam"]
    extra += ["--lr", "0.01", *(FP16 if precision == "fp16" else [])]
    train(tmp_path, vae_args(vae_data, tmp_path, 9, *extra, network=NETWORKS[network]), watch=_record)
    assert moved(tmp_path / "updates.0.pt") == [E, E, E, D, E, E, E, D, E]


def test_lagging_ends(vae_data: Path, tmp_path: Path) -> None:
    """Information falls at a high rate, and then all players step together."""
    extra = [*MINE, "--lagging", "--lagging-limit", "3", "--lr", "1"]
    train(tmp_path, with_validation(vae_args(vae_data, tmp_path, 20, *extra), 2), watch=_record)
    seen = moved(tmp_path / "updates.0.pt")
    assert seen[0] == E and seen[-1] == ALL
