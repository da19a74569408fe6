"""Text files that the verbs read, and tables that they print."""

import sys
from pathlib import Path
from typing import Dict, List, Tuple

from fairseq_ami.errors import AMIError


def read_lines(path: str) -> List[str]:
    """Lines of a text file, or of stdin for "-"; empty ones count.

    Raises:
        AMIError: unreadable, empty, or not UTF-8 (file and line).
    """
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise AMIError(f"the text {path} cannot be read: {error}") from error
    lines = content.split(b"\n")  # not splitlines: text may hold other line separators
    if not lines[-1]:
        lines.pop()
    if not lines:
        raise AMIError(f"the text {path} is empty")
    texts = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.decode("utf-8").rstrip("\r"))
        except UnicodeDecodeError as error:
            raise AMIError(f"{path}, line {number} is not UTF-8: {error}") from error
    return texts


def aligned_lines(path: str, reference_path: str, wanted: int) -> List[str]:
    """The same, of as many lines as the references.

    Raises:
        AMIError: of another number of lines.
    """
    lines = read_lines(path)
    if len(lines) != wanted:
        raise AMIError(f"{path} has {len(lines)} lines, {reference_path} has {wanted}: each line needs its partner")
    return lines


def warn_of_subwords(texts: Dict[str, List[str]]) -> None:
    """Word metrics of subwords mean something else, and nothing else would show it."""
    for name, lines in texts.items():
        pieces = sum(word.endswith("@@") or word.startswith("\u2581") for line in lines for word in line.split())
        if pieces:
            print(f"warning: {name} has {pieces} subwords (@@ or \u2581): undo them first", file=sys.stderr)


def plain(rows: List[List[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def markdown(rows: List[List[str]]) -> str:
    escaped: List[Tuple[str, ...]] = [tuple(text.replace("|", "\\|") for text in row) for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
