"""The pages in plain English: short sentences, one per line, without this house's old idioms; links lead somewhere."""

import ast
import re
from pathlib import Path
from typing import Dict, Iterator, List

import pytest
from unit.prose import AVERAGE, ENDS, LONGEST, cells, idioms, joined, paragraphs, plain, sentences

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("*.md", "docs/**/*.md", "examples/*/*.md", "benchmarks/*.md")
PAGES = sorted(str(path.relative_to(ROOT)) for pattern in PATTERNS for path in ROOT.glob(pattern))
# a list of changes, which grows with every merge; its links are tested as all others
CHANGES = "CHANGELOG.md"
PROSE = [path for path in PAGES if path != CHANGES]


@pytest.mark.parametrize("path", PROSE)
def test_sentences_are_short(path):
    text = (ROOT / path).read_text()
    for number, line in [*joined(text), *cells(text)]:
        for sentence in sentences(line):
            assert len(sentence.split()) <= LONGEST, f"{path}:{number}: {sentence}"


@pytest.mark.parametrize("path", PROSE)
def test_sentences_are_short_on_average(path):
    """As in the guides of established toolkits, whose pages have 15 to 18 words per sentence."""
    counts = [len(sentence.split()) for _, line in joined((ROOT / path).read_text()) for sentence in sentences(line)]
    assert sum(counts) / len(counts) <= AVERAGE


@pytest.mark.parametrize("path", PROSE)
def test_lines_end_with_sentences(path):
    """No line is broken at a width: a changed sentence is one changed line."""
    lead = r"(\s*([*-]|\d+\.) )?\**\*\*[^*]+\*\*\.?$|.*[`)]$"  # a line in bold; the end of an item in code or a link
    for number, line in paragraphs((ROOT / path).read_text()):
        assert re.search(ENDS, line) or re.match(lead, line), f"{path}:{number}: {line}"


@pytest.mark.parametrize("path", PROSE)
def test_words(path):
    for number, line in enumerate((ROOT / path).read_text().split("\n"), 1):
        assert not idioms(plain(line)), f"{path}:{number}: {idioms(plain(line))}"


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().split("\n")) <= 131


def anchors(text: str) -> List[str]:
    """What GitHub makes of headings; those inside of code are none."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]


@pytest.mark.parametrize("path", PAGES)
def test_links(path):
    """Files that pages link exist, and so do the headings; none leads out of the repository."""
    page = ROOT / path
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?:", target):
            file, _, anchor = target.partition("#")
            there = (page.parent / file) if file else page
            assert there.exists() and there.resolve().is_relative_to(ROOT), f"{path}: {target}"
            assert not anchor or anchor in anchors(there.read_text()), f"{path}: {target}"


@pytest.mark.parametrize("path", [path for path in PROSE if path != "docs/glossary.md"])
def test_every_page_links_the_glossary(path):
    assert "glossary.md" in (ROOT / path).read_text()


def sections(text: str) -> Dict[str, str]:
    """Heading -> text of the sections of a page."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


EXPERIMENTS = [path for path in PAGES if path.startswith("docs/experiments/") and not path.endswith("index.md")]


@pytest.mark.parametrize("path", EXPERIMENTS)
def test_form_of_an_experiment(path):
    """A question, the setting, a table of at most nine columns, and an answer of two sentences, in this order."""
    found = sections((ROOT / path).read_text())
    assert found
    for question, text in found.items():
        assert question.endswith("?"), question
        setting, table, answer = text.find("**Setting.** "), text.find("\n|---"), text.find("**Answer.** ")
        assert 0 <= setting < table < answer, question
        paragraph = text[answer:].split("\n\n")[0].removeprefix("**Answer.** ")
        assert len(paragraph.strip().split("\n")) == 2, (question, paragraph)
        assert max(line.count("|") for line in text.split("\n") if line.startswith("|---")) <= 10, question


def test_every_table_of_the_experiments_is_linked():
    text = "".join((ROOT / path).read_text() for path in EXPERIMENTS)
    for file in (ROOT / "docs" / "experiments" / "tables").iterdir():
        rows = file.read_text().rstrip("\n").split("\n")
        assert f"(tables/{file.name})" in text, file.name
        assert len({row.count("\t") for row in rows}) == 1 and len(rows) > 1, file.name


def docstrings(path: Path) -> Iterator[str]:
    """Paragraphs of the docstrings of a file, without tables: arguments and items of lists stand alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            for part in re.split(r"\n\s*\n|\n(?=\s*\w[\w, ]*: )|\n(?=\s*\* )", ast.get_docstring(node)):
                if "====" not in part:
                    yield " ".join(re.sub(r"``[^`]*``", "Code", part).split())


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in (ROOT / "fairseq_ami").rglob("*.py")}), ids=lambda p: p.name
)
def test_docstrings(folder):
    for path in folder.glob("*.py"):
        for text in docstrings(path):
            assert not idioms(text), f"{path}: {text}"
            for sentence in sentences(text):
                assert len(sentence.split()) <= LONGEST, f"{path}: {sentence}"


@pytest.mark.parametrize(
    "text, wrong",
    [("Rewards less their mean.", True), ("It costs less than that.", False), ("In nats a sentence.", True),
     ("In nats per sentence.", False), ("A spread of rewards.", True), ("`--lr` has no say.", True)],
)  # fmt: skip
def test_the_rules_themselves(text, wrong):
    assert bool(idioms(plain(text))) == wrong


def test_sentences_over_several_lines_are_counted():
    text = "one two\nthree four.\nFive\n\n* six\n  seven.\n\n```\nno prose\n```\n| a | b |"
    assert [line for _, line in joined(text)] == ["one two three four.", "Five", "* six seven."]
    assert sentences("Take `--x y`. `z` follows: A b.") == ["Take Code.", "Code follows:", "A b."]
