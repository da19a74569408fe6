"""Optional packages that are missing or broken."""

import sys

import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats import optional


def test_a_package_that_is_there():
    import json

    optional.EXTRAS["json"] = "none"
    try:
        assert optional.needed("json", "--x") is json
    finally:
        del optional.EXTRAS["json"]


def test_a_missing_package_names_option_package_and_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(AMIError, match=r"--x needs the package ctranslate2 .*pip install 'fairseq_ami\[ctranslate2\]'"):
        optional.needed("ctranslate2", "--x")


@pytest.mark.parametrize("error", ["OSError('no CUDA library')", "ImportError('of another torch')"])
def test_a_broken_package_has_a_stand_in_for_a_while(tmp_path, monkeypatch, error):
    """As torchaudio's usual wheel is beside a CPU-only torch."""
    (tmp_path / "brokenaudio.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with optional._stand_in("brokenaudio"):
        import brokenaudio

        assert brokenaudio.__spec__.name == "brokenaudio"
    assert "brokenaudio" not in sys.modules


def test_whole_and_absent_packages_are_left_alone(tmp_path, monkeypatch):
    (tmp_path / "wholeaudio.py").write_text("sound = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with optional._stand_in("wholeaudio"):
        assert sys.modules["wholeaudio"].sound == 1
    with optional._stand_in("absentaudio"):
        assert "absentaudio" not in sys.modules
