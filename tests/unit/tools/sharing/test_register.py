"""Registered networks: fetched once, whole, and only as registered."""

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from fairseq_ami import hub
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing import register
from fairseq_ami.tools.sharing.archives import unpacked
from fairseq_ami.tools.sharing.bundle import export


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "served" / "net.tar.gz"
    path.parent.mkdir()
    path.write_bytes(b"an archive " * 1000)
    return path


@pytest.fixture
def enter(tmp_path, monkeypatch):
    """Makes a register of one network."""
    monkeypatch.setenv("FAIRSEQ_AMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(register, "REGISTER", tmp_path / "register.json")

    def write(path, **changes):
        content = path.read_bytes()
        entry = {
            "url": path.as_uri(),
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "card": "One.",
        }
        entry = {name: value for name, value in {**entry, **changes}.items() if value is not None}
        (tmp_path / "register.json").write_text(json.dumps({"networks": {"net": entry}}))

    return write


def test_the_register_of_the_package_can_be_read():
    for entry in register.registered().values():
        assert entry.size > 0 and len(entry.sha256) == 64 and entry.card.endswith(".")


def test_fetched_once(archive, enter, tmp_path):
    enter(archive)
    path = register.located("net")
    assert Path(path).read_bytes() == archive.read_bytes() and path.startswith(str(tmp_path / "cache"))
    archive.unlink()
    assert register.located("net") == path
    assert os.listdir(tmp_path / "cache") == ["net.tar.gz"]


def test_a_damaged_copy_is_fetched_again(archive, enter):
    enter(archive)
    path = Path(register.located("net"))
    path.write_bytes(b"half")
    assert Path(register.located("net")).read_bytes() == archive.read_bytes()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"size": 5}, "it has 11000 bytes, not 5"),
        ({"sha256": "0" * 64}, "its sha256 is .*, not 0000"),
        ({"url": "http://127.0.0.1:9/net.tar.gz"}, "cannot be fetched from http://127.0.0.1:9/net.tar.gz .*refused"),
        ({"url": "file:///nowhere/net.tar.gz"}, "cannot be fetched from file:///nowhere"),
        ({"url": None}, "net needs either a url or a file"),
        ({"colour": "red"}, "cannot be read; install the package again"),
    ],
)
def test_what_can_be_wrong_is_one_line_and_leaves_nothing(archive, enter, tmp_path, changes, message):
    enter(archive, **changes)
    with pytest.raises(AMIError, match=message) as stop:
        register.located("net")
    assert "\n" not in str(stop.value)
    assert not (tmp_path / "cache").exists() or os.listdir(tmp_path / "cache") == []


def test_a_file_of_the_package_is_checked_too(archive, enter, tmp_path):
    (tmp_path / "own.tar.gz").write_bytes(archive.read_bytes())
    enter(archive, url=None, file="own.tar.gz")
    assert register.located("net") == str(tmp_path / "own.tar.gz")
    (tmp_path / "own.tar.gz").write_bytes(b"half")
    with pytest.raises(AMIError, match="it has 4 bytes"):
        register.located("net")


def test_a_cache_that_cannot_be_written_is_one_line(archive, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv("FAIRSEQ_AMI_CACHE", str(tmp_path / "taken"))
    with pytest.raises(AMIError, match="no place to unpack networks: .*taken.*FAIRSEQ_AMI_CACHE") as stop:
        unpacked(str(archive))
    assert "\n" not in str(stop.value)


def test_a_place_below_the_register(archive, enter, tmp_path):
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "own.tar.gz").write_bytes(archive.read_bytes())
    enter(archive, url=None, file="networks/own.tar.gz")
    assert register.located("net") == str(tmp_path / "networks" / "own.tar.gz")


def test_an_existing_path_goes_before_a_name(archive, enter, tmp_path, monkeypatch):
    enter(archive)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    assert register.located("net") == "net"
    with pytest.raises(AMIError, match="there is no model none; registered networks: net"):
        register.located("none")


def test_a_pair_by_its_name(enter, tmp_path):
    """From the register to a translation."""
    from unit.tools.formats.networks import save_pair

    checkpoint = save_pair(tmp_path / "pair")
    out = export(str(checkpoint), str(tmp_path / "pair.tar.gz"), pair=True)
    with tarfile.open(out) as archive:
        assert any(name.endswith("model.pt") for name in archive.getnames())
    enter(Path(out))
    by_name, by_path = hub.from_pretrained("net"), hub.from_pretrained(out)
    assert by_name.translate(["w0 w1"], max_len_b=5) == by_path.translate(["w0 w1"], max_len_b=5)
