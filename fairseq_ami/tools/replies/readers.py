"""Dialogues in text files: ParlAI's format, DailyDialog's, and tab-separated examples. ``.gz`` is unpacked."""

import gzip
import re
import zlib
from typing import Callable, Dict, Iterator, List, Tuple

from fairseq_ami.data.dialogue import SEPARATOR, Dialogue
from fairseq_ami.errors import AMIError

Lines = Iterator[Tuple[int, str]]
PERSONA = "your persona:"
PARTNER_PERSONA = "partner's persona:"
SILENCE = "__SILENCE__"
END_OF_UTTERANCE = "__eou__"

_NUMBERED = re.compile(r"(\d+) (.*)")


def read_dialogues(path: str, form: str) -> Iterator[Dialogue]:
    """The dialogues of a file, as they stand there.

    Args:
        path: text in UTF-8; packed by gzip if its name ends in ``.gz``.
        form: one of :data:`FORMATS`.

    Raises:
        AMIError: a file that cannot be read, or a line that is not of this format; it names file and line.
    """
    yield from FORMATS[form](path, _numbered_lines(path))


def _numbered_lines(path: str) -> Lines:
    """Line number (from 1) and text of each line that is not blank."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8").rstrip("\r\n")
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise AMIError(f"{path}, line {number}: not UTF-8 ({error.reason})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise AMIError(f"{path} cannot be read: {error}") from error


def _malformed(path: str, number: int, what: str, line: str) -> AMIError:
    shown = line if len(line) <= 80 else line[:77] + "..."
    return AMIError(f"{path}, line {number}: {what}: {shown!r}")


# ---------------------------------------------------------------------- formats


def _parlai(path: str, lines: Lines) -> Iterator[Dialogue]:
    """``N text<TAB>reply[<TAB>...]``; numbers start at 1 again with every dialogue.

    The replies are those after the tab (the persona is that speaker's). ``your persona:`` stays in the
    persona's sentences, as in ParlAI; the partner's persona, rewards and candidates are left out.
    """
    turns: List[str] = []
    persona: List[str] = []
    previous = 0

    def finished() -> Iterator[Dialogue]:
        if turns:
            yield Dialogue(tuple(turns), tuple(range(1, len(turns), 2)), tuple(persona))

    for number, line in lines:
        match = _NUMBERED.fullmatch(line)
        if match is None:
            raise _malformed(path, number, "no line number at its start (ParlAI's format)", line)
        place, text = int(match[1]), match[2]
        if place == 1:
            yield from finished()
            turns, persona = [], []
        elif place != previous + 1:
            raise _malformed(path, number, f"number {place} after {previous} (1 begins a dialogue)", line)
        previous = place
        if text.startswith(PARTNER_PERSONA):
            continue
        if text.startswith(PERSONA):
            persona.append(text.strip())
            continue
        fields = text.split("\t")
        if len(fields) < 2:
            raise _malformed(path, number, "no tab between an utterance and its reply", line)
        turns += ["" if field.strip() == SILENCE else field.strip() for field in fields[:2]]
    yield from finished()


def _dailydialog(path: str, lines: Lines) -> Iterator[Dialogue]:
    """A dialogue per line, ``__eou__`` after each utterance; every utterance but the first is a reply."""
    for number, line in lines:
        *turns, rest = line.split(END_OF_UTTERANCE)
        if rest.strip():
            raise _malformed(path, number, f"no {END_OF_UTTERANCE} after the last utterance", line)
        yield Dialogue(tuple(turn.strip() for turn in turns), tuple(range(1, len(turns))))


def _tsv(path: str, lines: Lines) -> Iterator[Dialogue]:
    """``history<TAB>reply``, an example a line, the separator between the utterances of the history."""
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != 2:
            raise _malformed(path, number, f"{len(fields) - 1} tabs instead of one (history, tab, reply)", line)
        turns = [turn.strip() for turn in fields[0].split(SEPARATOR)]
        yield Dialogue((*turns, fields[1].strip()), (len(turns),))


FORMATS: Dict[str, Callable[[str, Lines], Iterator[Dialogue]]] = {
    "parlai": _parlai,
    "dailydialog": _dailydialog,
    "tsv": _tsv,
}


# ---------------------------------------------------------------------- words

_WORD = re.compile(r"\w+|[^\w\s]")


def tokenize(text: str, lowercase: bool = False) -> str:
    """Split on spaces and punctuation (AMI appendix B.1): each punctuation mark is a word of its own."""
    return " ".join(_WORD.findall(text.lower() if lowercase else text))
