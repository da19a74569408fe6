"""Verbs that work for long show how far they are on a terminal, and nothing where there is none."""

import sys

import pytest

from fairseq_ami import cli
from fairseq_ami.cli.messages import progress_bar
from fairseq_ami.metrics.significance import swaps
from fairseq_ami.tools.replies.comparison import compare
from fairseq_ami.tools.replies.resampling import draw_times


@pytest.fixture
def replies(tmp_path):
    """A reference file and the replies of two systems."""
    texts = {"ref": "a b c\nd e\nf g h\n", "one": "a b\nd e\nf h\n", "two": "a\nd e e\nb h\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def measure(replies, *options):
    named = [f"{name}={replies / name}" for name in ("one", "two")]
    argv = ["metrics", "--references", replies / "ref", "--hypotheses", *named, *options]
    assert cli.main([str(word) for word in argv]) == 0


def test_metrics_names_what_it_does_on_a_terminal(replies, capsys, monkeypatch):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True, raising=False)
    measure(replies, "--bootstrap", 120, "--trials", 130)
    shown = capsys.readouterr().err
    for what in ("one: figures", "one: bootstrap", "two: bootstrap", "two: test", "sacreBLEU"):
        assert f"{what}: " in shown
    assert "0/3" in shown  # 120 draws, 50 at a time; 130 trials, 64 at a time


def test_metrics_is_silent_in_a_file(replies, capsys):
    measure(replies, "--bootstrap", 120, "--trials", 130)
    assert "bootstrap:" not in capsys.readouterr().err


def test_a_bar_changes_no_figure():
    """The work is done in the parts that the bar was told of, each one once."""
    seen = []

    def watched(items, what):
        for item in items:
            seen.append((what, item))
            yield item

    texts = {"one": {None: ["a b", "d e", "f h"]}, "two": {None: ["a", "d e e", "b h"]}}
    arguments = (texts, ["a b c", "d e", "f g h"], None, None, 120, 1, "13a", ("bleu",), None, 130)
    assert compare(*arguments, watched) == compare(*arguments)
    assert [item for what, item in seen if what == "two: bootstrap"] == [0, 50, 100]
    assert [item for what, item in seen if what == "two: test"] == [0, 64, 128]
    assert [item for what, item in seen if what == "sacreBLEU"] == ["bleu"]


def test_the_parts_are_all_of_the_work():
    assert sum(len(part) for part in draw_times(4, 120, 1, list)) == 120
    assert sum(len(part) for part in swaps(4, 130, 1, list)) == 130


def test_a_bar_needs_a_terminal(capsys):
    assert list(progress_bar([1, 2], "counting")) == [1, 2]
    assert capsys.readouterr().err == ""
