"""Files and folders are whole or absent; what stood there before a failure still does."""

import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, like_other_files, whole, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["out.txt", "out.tar.gz", "out"])
def test_a_file_takes_the_place_of_the_old_one(tmp_path, name):
    """The name to write to keeps the ending, which tells writers such as matplotlib the format."""
    target = tmp_path / name
    target.write_text("old")
    with whole(str(target)) as temporary:
        assert temporary != str(target) and temporary.endswith(target.suffix)
        with open(temporary, "w") as out:
            out.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and names(tmp_path) == [name]


def test_a_folder_takes_the_place_of_a_folder(tmp_path):
    target = tmp_path / "model.v1"
    target.mkdir()
    (target / "old").touch()
    with whole(str(target)) as temporary:
        (tmp_path / temporary).mkdir()
        (tmp_path / temporary / "new").touch()
    assert names(target) == ["new"] and names(tmp_path) == ["model.v1"]


@pytest.mark.parametrize("error, seen", [(OSError, AMIError), (RuntimeError, AMIError), (KeyError, KeyError)])
def test_a_failure_leaves_the_old_file(tmp_path, error, seen):
    """A full disk is an OSError in Python and a RuntimeError in torch; other errors stay what they are."""
    target = tmp_path / "out.txt"
    target.write_text("old")
    with pytest.raises(seen, match="No space left"), whole(str(target)) as temporary:
        with open(temporary, "w") as out:
            out.write("ne")
        raise error("No space left")
    assert target.read_text() == "old" and names(tmp_path) == ["out.txt"]


def test_a_failure_leaves_the_old_folder(tmp_path):
    """Also when the new one never came to be, so that only the last step fails."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(AMIError, match=f"cannot write {target}"), whole(str(target)):
        pass
    assert names(target) == ["old"] and names(tmp_path) == ["out"]


def test_folders_are_made_on_request_only(tmp_path):
    target = tmp_path / "a" / "b" / "out.txt"
    with pytest.raises(AMIError, match="cannot write"):
        write_text(str(target), "text")
    assert names(tmp_path) == []
    with whole(str(target), parents=True) as temporary, open(temporary, "w") as out:
        out.write("text")
    assert target.read_text() == "text"


def test_text_is_utf_8_with_plain_line_ends(tmp_path):
    write_text(str(tmp_path / "out.txt"), "Größe\nzwei\n")
    assert (tmp_path / "out.txt").read_bytes() == "Größe\nzwei\n".encode()


def test_paths_that_can_be_written(tmp_path, monkeypatch):
    """Files that are there or not, in folders that are there; what was not asked for is left out."""
    (tmp_path / "old").write_text("x")
    monkeypatch.chdir(tmp_path)
    check_writable(None, "", "new", str(tmp_path / "new"), "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("path", ["folder", "folder/", "nowhere/new", "old/new"])
def test_paths_that_cannot(tmp_path, monkeypatch, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_text("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AMIError, match=f"cannot write {path}: it is a folder, or its folder does not exist"):
        check_writable("new", path)


def test_permissions_of_files_that_a_library_wrote(tmp_path):
    """They become those of a file that is opened anew."""
    private, usual = tmp_path / "below" / "private", tmp_path / "usual"
    private.parent.mkdir()
    private.touch(mode=0o600)
    usual.write_text("")
    like_other_files(str(tmp_path))
    assert private.stat().st_mode == usual.stat().st_mode
