"""A smaller network out of a trained one, against one whose layers are taken out by hand."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

import torch
from unit.tools.formats.networks import load, save_checkpoint

MULTI30K = Path(__file__).resolve().parents[3] / "examples" / "multi30k"
sys.path.insert(0, str(MULTI30K))

from smaller import main, with_layers  # noqa: E402


def test_layers_are_numbered_anew():
    weights = {f"decoder.layers.{n}.fc.weight": n for n in range(11)} | {
        "encoder.layers.0.fc.weight": 7,
        "decoder.x": 8,
    }
    assert with_layers(weights, "decoder", [0, 10]) == {
        "encoder.layers.0.fc.weight": 7, "decoder.x": 8,
        "decoder.layers.0.fc.weight": 0, "decoder.layers.1.fc.weight": 10,
    }  # fmt: skip


def test_the_file(tmp_path, monkeypatch):
    """fairseq loads it, and it says what the network says whose layers are taken out by hand."""
    path = save_checkpoint(tmp_path / "net", encoder_layers=3, decoder_layers=2)
    state = torch.load(path, weights_only=True)
    settings = state["cfg"]["model"]
    torch.save(
        {**state, "cfg": {**state["cfg"], "model": Namespace(**settings)}}, tmp_path / "old.pt"
    )  # as fairseq does
    argv = ["smaller.py", tmp_path / "old.pt", tmp_path / "new.pt", "--encoder-layers", "0,2", "--decoder-layers", "1"]
    monkeypatch.setattr("sys.argv", [str(word) for word in argv])
    main()
    made = torch.load(tmp_path / "new.pt", weights_only=True)
    new = made["cfg"]["model"]
    assert (new.encoder_layers, new.decoder_layers, made["last_optimizer_state"]) == (2, 1, None)
    shutil.copytree(tmp_path / "net", tmp_path / "small")
    torch.save({**made, "cfg": {**made["cfg"], "model": vars(new)}}, tmp_path / "small" / "model.pt")
    (small, *_), (whole, *_) = load(tmp_path / "small" / "model.pt"), load(path)
    del whole.encoder.layers[1], whole.decoder.layers[0]
    tokens, lengths = torch.tensor([[5, 7, 4, 2]]), torch.tensor([4])
    with torch.no_grad():
        ours, theirs = (network(tokens, lengths, tokens.roll(1, 1))[0] for network in (small, whole))
    assert torch.equal(ours, theirs)
