"""Reading checkpoints: what is refused and how, what stands in for a damaged one, nothing half-written."""

import argparse
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.models import MODEL_REGISTRY

from fairseq_ami.checkpoints import (
    architecture,
    languages_of,
    model_class,
    newest_readable,
    part_of,
    read_checkpoint,
    restore_path,
)
from fairseq_ami.errors import AMIError

STATE = {"model": {"w": torch.arange(3.0)}, "cfg": {"model": {"arch": "transformer"}}, "args": None}


def refusal(path, **kwargs):
    with pytest.raises(AMIError) as error:
        read_checkpoint(str(path), **kwargs)
    assert str(path) in str(error.value)
    return str(error.value)


class Touch:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


class Shell(Touch):
    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize("lazily", [False, True])
def test_a_whole_checkpoint_is_read(tmp_path, lazily):
    """Weights and settings as they were saved."""
    torch.save(STATE, tmp_path / "c.pt")
    state = read_checkpoint(str(tmp_path / "c.pt"), lazily=lazily)
    assert torch.equal(state["model"]["w"], torch.arange(3.0)) and state["cfg"] == STATE["cfg"]


def test_what_fairseq_stores_besides_weights_is_read(tmp_path):
    """A legacy Namespace, and the numpy counts that --eval-bleu leaves in the meters."""
    state = {
        "model": {},
        "args": argparse.Namespace(arch="transformer"),
        "extra_state": {"metrics": [np.array([1, 2]), np.array([0.5])]},
    }
    torch.save(state, tmp_path / "c.pt")
    got = read_checkpoint(str(tmp_path / "c.pt"))
    assert got["args"].arch == "transformer" and got["extra_state"]["metrics"][1].tolist() == [0.5]
    assert got["extra_state"]["metrics"][0].tolist() == [1, 2]


def test_missing_file(tmp_path):
    """Said in the user's words."""
    assert "--forward-checkpoint: there is no file" in refusal(tmp_path / "no.pt", what="--forward-checkpoint")


def test_a_folder_is_no_checkpoint(tmp_path):
    """No traceback from the operating system."""
    assert "there is no file" in refusal(tmp_path)


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(tmp_path, share, lazily):
    """Whatever is left of it."""
    path = tmp_path / "c.pt"
    torch.save({**STATE, "model": {"w": torch.randn(1000)}}, path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    message = refusal(path, lazily=lazily)
    assert "damaged" in message and "\n" not in message


@pytest.mark.parametrize("content", [b"hello world\n", b"\x00" * 100, bytes(range(256)), b"PK\x03\x04" + b"\x00" * 60])
def test_not_a_checkpoint_at_all(tmp_path, content):
    """Text, zeros, noise, half a zip."""
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_damage_of_any_kind_is_a_message(tmp_path):
    """Random bytes changed in a checkpoint of the old format: it can be read, or an AMIError says that it cannot."""
    path, random = tmp_path / "c.pt", np.random.default_rng(0)
    torch.save({**STATE, "args": argparse.Namespace(a=1)}, path, _use_new_zipfile_serialization=False)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(str(path))
        except AMIError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "state",
    [[1], {"w": torch.zeros(2)}, {"model": {}}, {"cfg": {"model": {}}}, {"model": {}, "cfg": None, "args": None}],
)
def test_not_a_fairseq_checkpoint(tmp_path, state):
    """A bare state dict, for example."""
    torch.save(state, tmp_path / "c.pt")
    assert "not a fairseq checkpoint" in refusal(tmp_path / "c.pt")


@pytest.mark.parametrize("kind", [Touch, Shell])
@pytest.mark.parametrize("writer", ["torch", "torch-legacy", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, kind, writer):
    """The file that it would create must not exist; loaded without care it does."""
    victim, path = tmp_path / "pwned", tmp_path / "c.pt"
    state = {**STATE, "extra_state": kind(victim)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps({**STATE, "model": {}, "extra_state": kind(victim)}, protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=writer == "torch")
    message = refusal(path)
    assert not victim.exists()
    assert "refused" in message and "run code" in message
    if writer != "pickle":
        torch.load(path, weights_only=False)
        assert victim.exists()


def test_settings_of_either_age():
    """A legacy Namespace and the newer nested settings give plain dicts."""
    assert part_of({"cfg": {"model": argparse.Namespace(a=1)}}, "model") == {"a": 1}
    assert part_of({"cfg": {"model": {"a": 1}, "task": None}}, "task") == {}
    assert part_of({"cfg": None, "args": argparse.Namespace(a=1)}, "task") == {"a": 1}


# ------------------------------------------------------------------ resuming


def save(folder, name, value, age):
    path = Path(folder) / name
    torch.save({**STATE, "value": value}, path)
    os.utime(path, (1000 - age, 1000 - age))
    return path


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_nothing_to_resume(tmp_path):
    """A fresh folder, or none."""
    assert restore_path(str(tmp_path), "checkpoint_last.pt") is None
    assert restore_path(str(tmp_path / "absent"), "checkpoint_last.pt") is None


def test_a_whole_last_checkpoint_is_used(tmp_path):
    """As it is, though another is newer."""
    last = save(tmp_path, "checkpoint_last.pt", 1, 5)
    save(tmp_path, "checkpoint1.pt", 2, 0)
    assert restore_path(str(tmp_path), "checkpoint_last.pt") == str(last)
    assert torch.load(last)["value"] == 1


def test_a_damaged_last_checkpoint_gives_way_to_the_newest_whole_one(tmp_path):
    """Not to one that is older, nor to a newer one that is damaged too; the damaged file is kept beside."""
    last = save(tmp_path, "checkpoint_last.pt", 9, 0)
    damaged = last.read_bytes()[:200]
    last.write_bytes(damaged)
    halve(save(tmp_path, "checkpoint_4_400.pt", 4, 1))
    os.utime(tmp_path / "checkpoint_4_400.pt", (999, 999))
    save(tmp_path, "checkpoint_3_300.pt", 3, 2)
    save(tmp_path, "checkpoint_2_200.pt", 2, 3)
    save(tmp_path, "checkpoint_best.pt", 1, 4)
    assert restore_path(str(tmp_path), "checkpoint_last.pt") == str(last)
    assert torch.load(last)["value"] == 3
    assert Path(f"{last}.damaged").read_bytes() == damaged
    names = {"checkpoint_last.pt", "checkpoint_last.pt.damaged", "checkpoint_best.pt"}
    assert {p.name for p in tmp_path.iterdir()} == names | {f"checkpoint_{n}_{n}00.pt" for n in (2, 3, 4)}


def test_a_damaged_last_checkpoint_and_no_other(tmp_path):
    """The message says what to do; nothing is moved."""
    last = save(tmp_path, "checkpoint_last.pt", 9, 0)
    halve(last)
    with pytest.raises(AMIError, match="--restore-file"):
        restore_path(str(tmp_path), "checkpoint_last.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint_last.pt"]


def test_a_damaged_file_that_was_asked_for_is_not_replaced(tmp_path):
    """--restore-file names one file, not any."""
    wanted = save(tmp_path, "checkpoint5.pt", 5, 0)
    halve(wanted)
    save(tmp_path, "checkpoint4.pt", 4, 1)
    with pytest.raises(AMIError, match="checkpoint5.pt is truncated"):
        restore_path(str(tmp_path), str(wanted))


def test_newest_readable(tmp_path):
    """By time of writing, among checkpoint*.pt only, without the one that is left out."""
    first, second = save(tmp_path, "checkpoint1.pt", 1, 9), save(tmp_path, "checkpoint2.pt", 2, 5)
    save(tmp_path, "other.pt", 3, 0)
    assert newest_readable(str(tmp_path), "") == str(second)
    assert newest_readable(str(tmp_path), str(second)) == str(first)
    assert newest_readable(str(tmp_path / "absent"), "") is None


def test_a_suffix(tmp_path):
    """--checkpoint-suffix: fairseq resumes the last checkpoint of that name, and no other stands in."""
    folder = str(tmp_path)
    save(tmp_path, "checkpoint_last.pt", 1, 0)
    assert restore_path(folder, "checkpoint_last.pt", "_x") is None
    last = save(tmp_path, "checkpoint_last_x.pt", 2, 5)
    assert restore_path(folder, "checkpoint_last.pt", "_x") == str(last)
    assert restore_path(folder, str(tmp_path / "checkpoint_last_y.pt").replace("_y", ""), "_x") == str(last)
    halve(last)
    with pytest.raises(AMIError, match="no other checkpoint"):
        restore_path(folder, "checkpoint_last.pt", "_x")
    save(tmp_path, "checkpoint1_x.pt", 3, 9)
    assert restore_path(folder, "checkpoint_last.pt", "_x") == str(last) and torch.load(last)["value"] == 3


def test_continue_once(tmp_path):
    """--continue-once holds until the run has a checkpoint of its own."""
    other, folder = save(tmp_path, "other.pt", 1, 0), tmp_path / "run"
    folder.mkdir()
    assert restore_path(str(folder), "checkpoint_last.pt", "", str(other)) == str(other)
    last = save(folder, "checkpoint_last.pt", 2, 0)
    assert restore_path(str(folder), "checkpoint_last.pt", "", str(other)) == str(last)


def test_a_file_that_is_not_there(tmp_path):
    """fairseq would start a new run, with one line in its log."""
    nowhere = str(tmp_path / "nowhere.pt")
    with pytest.raises(AMIError, match="--restore-file: there is no file"):
        restore_path(str(tmp_path), nowhere)
    with pytest.raises(AMIError, match="--continue-once: there is no file"):
        restore_path(str(tmp_path), "checkpoint_last.pt", "", nowhere)


# ---------------------------------------------------------------------- what settings say


@pytest.mark.parametrize(
    "stored, backward",
    [
        ({}, ["de", "en"]),
        ({"backward_languages": None}, ["de", "en"]),
        ({"backward_languages": ("c", "l")}, ["c", "l"]),
    ],
)
def test_languages_of_a_pair(stored, backward):
    """Pairs of translation, before and since dialogue, and of dialogue."""
    found = languages_of({"pair_languages": ("en", "de"), **stored})
    assert found == {"forward": ["en", "de"], "backward": backward} and list(found) == ["forward", "backward"]


def test_architecture_and_its_class():
    """Of a size of fairseq's model, of a bare model, of nothing that is known here."""
    assert architecture({"arch": "transformer_iwslt_de_en", "_name": "transformer"}) == "transformer_iwslt_de_en"
    assert architecture({"_name": "transformer"}) == "transformer" and architecture({}) is None
    for name in ("transformer_iwslt_de_en", "transformer"):
        assert model_class({"arch": name}) is MODEL_REGISTRY["transformer"]
    assert model_class({"arch": "of another plugin"}) is None and model_class({}) is None
