"""Limits of plain English, for pages, help texts and docstrings."""

import re
from typing import Iterator, List, Tuple

LONGEST = 30  # words of a sentence
AVERAGE = 15  # words of the sentences of a page
# idiom -> what to say
BANNED = {
    r"\bspreads?\b": "standard deviation",
    r"\bless (its|that|the|their|what)\b": "minus",
    r"\b(nats|bits|units|tokens|words|symbols|updates|samples|sentences|seconds|minutes|dialogue|one \w+) an? "
    r"(sentence|token|word|symbol|second|layer|source|batch|row|phase|file|verb|line|network|process|epoch)\b": "per",
    r"\bof then\b": "a date or a version",
    r"\bha(s|ve) no say\b": "is ignored",
    r"\bwhichever (it|they)\b": "whatever",
    r"\btakes? off\b": "subtracts",
    r"\bnot to be told from\b": "cannot be distinguished from",
    r"\bbut for\b": "except",
    r"\bin the place of\b": "instead of",
}
ENDS = r"[.?!:;,][\"')*]*$"


def paragraphs(text: str) -> Iterator[Tuple[int, str]]:
    """Number and text of each line of prose: no code, tables, headings, pictures, comments or directives."""
    code = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and line.strip() and not re.match(r"[|#!<]|    |::: ", line):
            yield number, line


def joined(text: str) -> Iterator[Tuple[int, str]]:
    """The same, where a line that ends in the middle of a sentence is one with the next."""
    start, parts, last = 0, [], -1
    for number, line in paragraphs(text):
        goes_on = number == last + 1 and not re.search(ENDS, parts[-1]) and not re.match(r"\s*([*-]|\d+\.) ", line)
        if parts and not goes_on:
            yield start, " ".join(parts)
            parts = []
        start, parts, last = start if parts else number, [*parts, line.strip()], number
    if parts:
        yield start, " ".join(parts)


def plain(line: str) -> str:
    """What is read of a line: the text of links, and each stretch of code as one word."""
    line = re.sub(r"`[^`]*`", "Code", line)
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


def idioms(text: str) -> List[str]:
    """What to say instead of the idioms of a text."""
    return [f"{idiom}: say {better!r}" for idiom, better in BANNED.items() if re.search(idiom, text, re.IGNORECASE)]
