"""``fairseq-ami compare``: Table 4."""

from html.parser import HTMLParser

import pytest

from fairseq_ami import cli

FILES = {
    "histories": ["what is your degree in ? || math", "hi", "<b> & $x || || *you*"],
    "plain": ["i study", "a | b", ""],
    "ami": ["<script>alert(1)</script>", "c", "\U0001f600 _d_"],
    "real": ["so do i", "hello", "yes"],
}
TABLE = r"""### Line 3

- **\[A\]** \<b\> \& \$x
- **\[B\]** *(empty)*
- **\[A\]** \*you\*

| | [B] |
|---|---|
| **TF** | *(empty)* |
| **TF + AMI** | 😀 \_d\_ |
| **Human** | yes |

### Line 2

- **\[A\]** hi

| | [B] |
|---|---|
| **TF** | a \| b |
| **TF + AMI** | c |
| **Human** | hello |
"""


@pytest.fixture
def command(tmp_path):
    for name, lines in FILES.items():
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    systems = ["--system", f"TF={tmp_path}/plain", "--system", f"TF + AMI={tmp_path}/ami"]
    return ["compare", "--histories", f"{tmp_path}/histories", "--separator", "||", *systems]


def test_markdown_of_chosen_lines(command, tmp_path, capsys):
    wanted = [*command, "--references", f"{tmp_path}/real", "--lines", "3,2"]
    assert cli.main(wanted) == 0
    assert capsys.readouterr().out == TABLE
    assert cli.main([*wanted, "--markdown", f"{tmp_path}/out.md"]) == 0
    assert (tmp_path / "out.md").read_text(encoding="utf-8") == TABLE and capsys.readouterr().out == ""


def test_page_shows_texts_as_they_are(command, tmp_path):
    assert cli.main([*command, "--count", "3", "--html", f"{tmp_path}/out.html"]) == 0
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    shown = []
    parser = HTMLParser()
    parser.handle_data = shown.append
    parser.handle_starttag = lambda tag, _: shown.append(tag) if tag == "script" else None
    parser.feed(page)
    assert "script" not in shown and "http:" not in page and "https:" not in page
    for text in FILES["ami"] + FILES["plain"][:2] + ["<b> & $x", "Line 1", "TF + AMI", "(empty)"]:
        assert text in shown


def test_drawn_lines_stand_in_order_and_are_the_same_again(command, capsys):
    found = []
    for seed in ("1", "1", "2", "3", "4"):
        assert cli.main([*command, "--count", "2", "--seed", seed]) == 0
        found.append([int(line[9:]) for line in capsys.readouterr().out.splitlines() if line.startswith("### Line ")])
    assert all(lines in ([1, 2], [1, 3], [2, 3]) for lines in found)
    assert found[0] == found[1] and len(set(map(tuple, found))) > 1


@pytest.mark.parametrize(
    "options, message",
    [
        (["--lines", "4"], "--lines 4: "),
        (["--count", "4"], "4 histories are to be drawn and there are 3"),
        (["--lines", "1", "--system", "Human=plain", "--references", "real"], "are shown as Human"),
        (["--system", "x=histories2"], "histories2 cannot be read"),
    ],
)
def test_mistakes(command, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, *options]) == 2
    assert message in capsys.readouterr().err


def test_lines_are_counted_from_one(command):
    with pytest.raises(SystemExit):
        cli.main([*command, "--lines", "0"])
