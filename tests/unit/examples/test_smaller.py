"""A smaller network out of a trained one: whose vectors it keeps, and which layers; against one cut by hand."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from unit.tools.formats.networks import SHARED, load, save_checkpoint

MULTI30K = Path(__file__).resolve().parents[3] / "examples" / "multi30k"
sys.path.insert(0, str(MULTI30K))

from smaller import main, parents, smaller_table, spelt, with_layers  # noqa: E402


@pytest.fixture
def dictionaries():
    old, new = Dictionary(), Dictionary()
    for word in ("a@@", "b", "c@@", "house"):
        old.add_symbol(word)
    for word in ("house", "ab", "caab", "new"):
        new.add_symbol(word)
    return old, new


def test_pieces_are_spelt_as_in_the_dictionary(tmp_path):
    (tmp_path / "codes").write_text("#version: 0.2\na b</w>\nc a\nca ab</w>\n")
    assert (spelt("b</w>"), spelt("a")) == ("b", "a@@")
    assert parents(tmp_path / "codes") == {"ab": ["a@@", "b"], "ca@@": ["c@@", "a@@"], "caab": ["ca@@", "ab"]}


def test_vectors(dictionaries):
    """A known symbol keeps its vector; a merged one is the mean of its two pieces, down to known ones."""
    old, new = dictionaries
    table = torch.randn(len(old), 3)
    made = {"ab": ["a@@", "b"], "ca@@": ["c@@", "a@@"], "caab": ["ca@@", "ab"]}
    found = smaller_table(table, old, new, made)
    vector = {symbol: table[old.index(symbol)] for symbol in old.symbols}
    assert found.shape == (8, 3) and torch.equal(found[:4], table[:4])
    a, b, c = vector["a@@"], vector["b"], vector["c@@"]
    expected = [vector["house"], (a + b) / 2, (c + a + a + b) / 4, vector["<unk>"]]
    assert torch.allclose(found[4:], torch.stack(expected))


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
    """fairseq loads it, and it says what the network says from which the other layer and words are taken by hand."""
    path = save_checkpoint(tmp_path / "net", encoder_layers=3, encoder_embed_dim=16, decoder_embed_dim=16, **SHARED)
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"] = Namespace(**state["cfg"]["model"])  # as fairseq's training writes it
    torch.save(state, path)
    words = Dictionary.load(str(tmp_path / "net" / "dict.en.txt"))
    fewer = Dictionary()
    for word in words.symbols[4:9]:
        fewer.add_symbol(word)
    (tmp_path / "small").mkdir()
    for language in ("en", "de"):
        fewer.save(str(tmp_path / "small" / f"dict.{language}.txt"))
    (tmp_path / "codes").write_text("#version: 0.2\n")
    argv = ["smaller.py", path, tmp_path / "small" / "model.pt", "--encoder-layers", "0,2", "--decoder-layers", "0"]
    argv += ["--from-dict", tmp_path / "net" / "dict.en.txt", "--to-dict", tmp_path / "small" / "dict.en.txt"]
    monkeypatch.setattr("sys.argv", [str(word) for word in [*argv, "--codes", tmp_path / "codes"]])
    torch.serialization.add_safe_globals([Namespace])
    main()
    made = torch.load(tmp_path / "small" / "model.pt", weights_only=True)
    assert (made["cfg"]["model"].encoder_layers, made["last_optimizer_state"]) == (2, None)
    made["cfg"]["model"] = vars(made["cfg"]["model"])
    torch.save(made, tmp_path / "small" / "model.pt")
    state["cfg"]["model"] = vars(state["cfg"]["model"])
    torch.save(state, path)
    (small, *_), (whole, *_) = load(tmp_path / "small" / "model.pt"), load(path)
    del whole.encoder.layers[1]
    tokens, lengths = torch.tensor([[5, 7, 4, 2]]), torch.tensor([4])
    with torch.no_grad():
        ours, theirs = (network(tokens, lengths, tokens.roll(1, 1))[0] for network in (small, whole))
    assert ours.shape[-1] == len(fewer) and torch.allclose(ours, theirs[..., : len(fewer)], atol=1e-6)
