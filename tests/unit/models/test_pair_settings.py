"""Word vectors from files: each network gets those of the languages that it reads and writes."""

import pytest
import torch
from unit import tiny
from unit.tiny import make_pair, make_task

from fairseq_ami.models.pair_settings import exchange_word_vectors

VECTORS = {"encoder": 2.0, "decoder": 3.0}  # of source words, of target words


@pytest.fixture
def files(tmp_path):
    """The words of both dictionaries have the same names; only the files tell the languages apart."""
    for side, value in VECTORS.items():
        rows = [f"w{index} " + " ".join([str(value)] * 8) for index in range(3)]
        (tmp_path / side).write_text("\n".join([f"{len(rows)} 8", *rows]) + "\n")
    return {f"{side}_embed_path": str(tmp_path / side) for side in VECTORS}


def vectors(model):
    """What each side of each network knows of the word w0, before the enlarging of the test's weights."""
    found = {}
    for name in ("forward", "backward"):
        for side in VECTORS:
            weight = getattr(getattr(model, f"{name}_model"), side).embed_tokens.weight
            found[name, side] = weight[4].detach()
    return found


def test_each_language_has_its_own(files, monkeypatch):
    monkeypatch.setitem(tiny.SPREAD, "ami_transformer", 1.0)
    found = vectors(make_pair(make_task(), **files))
    source, target = (torch.full((8,), VECTORS[side]) for side in VECTORS)
    assert torch.equal(found["forward", "encoder"], source) and torch.equal(found["backward", "decoder"], source)
    assert torch.equal(found["forward", "decoder"], target) and torch.equal(found["backward", "encoder"], target)


def test_vectors_of_the_source_alone(files, monkeypatch):
    """The backward network's encoder, which reads the other language, has none."""
    monkeypatch.setitem(tiny.SPREAD, "ami_transformer", 1.0)
    found = vectors(make_pair(make_task(), encoder_embed_path=files["encoder_embed_path"]))
    source = torch.full((8,), VECTORS["encoder"])
    assert {place for place, vector in found.items() if torch.equal(vector, source)} == {
        ("forward", "encoder"),
        ("backward", "decoder"),
    }


def test_frozen_vectors_stay_frozen_on_the_other_side(files):
    settings = {**files, "encoder_freeze_embed": True, "decoder_freeze_embed": False}
    exchange_word_vectors(settings)
    assert settings["encoder_embed_path"] == files["decoder_embed_path"] and not settings["encoder_freeze_embed"]
    assert settings["decoder_embed_path"] == files["encoder_embed_path"] and settings["decoder_freeze_embed"]


@pytest.mark.parametrize(
    "more", [{"encoder_freeze_embed": True}, {"encoder_embed_path": "x", "share_all_embeddings": True}]
)
def test_nothing_to_exchange(more):
    """Without files, or with one table for all sides."""
    settings = dict(more)
    exchange_word_vectors(settings)
    assert settings == more


def test_a_dialogue_keeps_them(files, monkeypatch):
    """Its backward network reads and writes the same language as the forward one."""
    monkeypatch.setitem(tiny.SPREAD, "ami_transformer", 1.0)
    task = make_task(3, 3, ("hist", "reply"))
    task.backward_languages = ("context", "last")
    found = vectors(make_pair(task, encoder_embed_path=files["encoder_embed_path"]))
    source = torch.full((8,), VECTORS["encoder"])
    assert {place for place, vector in found.items() if torch.equal(vector, source)} == {
        ("forward", "encoder"),
        ("backward", "encoder"),
    }
