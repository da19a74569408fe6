"""The pages in plain English: short sentences, one per line, without this house's old idioms; links lead somewhere."""

import re
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
# pages that keep the rules; every page that is rewritten joins them
PLAIN = [
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("export", "extending", "faq", "getting_started", "glossary", "networks", "results", "tools")
    ),
]
PAGES = [str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
LONGEST = 30  # words of a sentence
# idiom -> what to say
BANNED = {
    r"\bspreads?\b": "standard deviation",
    r"\bless (its|that|the|their|what)\b": "minus",
    r"\b(nats|bits|units|tokens|words|symbols|updates|samples|sentences|one \w+) an? "
    r"(sentence|token|word|symbol|second|layer|source|batch|row|phase|file|verb)\b": "per",
    r"\bof then\b": "a date or a version",
    r"\bha(s|ve) no say\b": "is ignored",
    r"\bwhichever (it|they)\b": "whatever",
    r"\btakes? off\b": "subtracts",
    r"\bnot to be told from\b": "cannot be distinguished from",
    r"\bbut for\b": "except",
}


def paragraphs(text: str) -> Iterator[Tuple[int, str]]:
    """Number and text of each line of prose: no code, tables, headings, pictures or comments."""
    code = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            code = not code
        elif not code and line.strip() and not re.match(r"[|#!<]|    ", line):
            yield number, line


def plain(line: str) -> str:
    """What is read of a line: the text of links, and each stretch of code as one word."""
    line = re.sub(r"`[^`]*`", "code", line)
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return re.sub(r"^(\s*[*-]|\s*\d+\.) ", "", line).replace("*", "")


def sentences(line: str) -> List[str]:
    return [part for part in re.split(r"(?<=[.?!:])\s+(?=[A-Z\"(])", plain(line)) if part.strip()]


def cells(text: str) -> Iterator[Tuple[int, str]]:
    """Number and text of each cell of a table."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line)[1:-1]:
                yield number, cell.strip()


@pytest.mark.parametrize("path", PLAIN)
def test_sentences_are_short(path):
    text = (ROOT / path).read_text()
    for number, line in [*paragraphs(text), *cells(text)]:
        for sentence in sentences(line):
            assert len(sentence.split()) <= LONGEST, f"{path}:{number}: {sentence}"


@pytest.mark.parametrize("path", PLAIN)
def test_words(path):
    for number, line in enumerate((ROOT / path).read_text().split("\n"), 1):
        for idiom, better in BANNED.items():
            assert not re.search(idiom, plain(line), re.IGNORECASE), f"{path}:{number}: {idiom}: say {better!r}"


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().split("\n")) <= 131


def anchors(text: str) -> List[str]:
    """What GitHub makes of headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]


@pytest.mark.parametrize("path", PAGES)
def test_links(path):
    page = ROOT / path
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?:", target):
            file, _, anchor = target.partition("#")
            there = (page.parent / file) if file else page
            assert there.exists(), f"{path}: {target}"
            assert not anchor or anchor in anchors(there.read_text()), f"{path}: {target}"


@pytest.mark.parametrize("path", [path for path in PAGES if not path.endswith("glossary.md")])
def test_every_page_links_the_glossary(path):
    assert "glossary.md" in (ROOT / path).read_text()


@pytest.mark.parametrize(
    "text, wrong",
    [("Rewards less their mean.", True), ("It costs less than that.", False), ("In nats a sentence.", True),
     ("In nats per sentence.", False), ("A spread of rewards.", True), ("`--lr` has no say.", True)],
)  # fmt: skip
def test_the_rules_themselves(text, wrong):
    assert any(re.search(idiom, plain(text), re.IGNORECASE) for idiom in BANNED) == wrong
