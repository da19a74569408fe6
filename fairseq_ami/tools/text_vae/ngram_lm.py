"""Perplexity of a text under an n-gram model of another, by KenLM's `lmplz` and `query` (Heafield et al. 2013).

The models are Kneser-Ney smoothed (modified, interpolated, unpruned). The end of a sentence counts as a word, its
beginning does not. A word that the model has not seen counts as well, with the probability of its one unknown word.
That is small where the training text is rich in words and large where it is poor, so look at their number too.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterable, Iterator, Optional, Union

from fairseq_ami.errors import AMIError

ORDER = 5
BUILT = Path(__file__).resolve().parents[2] / ".kenlm" / "bin"  # where `make kenlm` puts them
HOW_TO_GET = "`make kenlm` builds them; or name their folder with --kenlm or the environment variable KENLM_BIN"
# lmplz refuses these as words, and query takes <UNK> for its own unknown word as well
RESERVED = {"<unk>": "__unk__", "<UNK>": "__UNK__", "<s>": "__s__", "</s>": "__/s__"}
_RESERVED = re.compile(r"(?<!\S)(?:" + "|".join(map(re.escape, RESERVED)) + r")(?!\S)")
_MEMORY = "512M"  # for lmplz's sorting, which goes on on the disk; its own default is most of the machine's memory
# what lmplz says, before it asks for --discount_fallback, of a text whose counts do not look like language
_BAD_DISCOUNT = re.compile(r"(?:Could not calculate|ERROR: )[^\n;]*?(?=;|\.\s|\n)")


class NGramError(Exception):
    """KenLM could not make a model of a text, or use it; the message says why."""


@dataclass(frozen=True)
class Perplexity:
    """Of a text under an n-gram model.

    Attributes:
        including_oov: over all words and sentence ends; the number to report.
        excluding_oov: leaving out words that the model has not seen.
        oov: how many such words there were.
        tokens: words, seen or not, and sentence ends.
        fallback: as in :class:`NGramModel`.
    """

    including_oov: float
    excluding_oov: float
    oov: int
    tokens: int
    fallback: str


@dataclass(frozen=True)
class NGramModel:
    """A file that `lmplz` wrote.

    Attributes:
        fallback: why Kneser-Ney's discounts could not be estimated from the text, in the words of `lmplz`, which then
            used its fall-back ones (0.5, 1, 1.5): not comparable with other models. Empty if they could.
    """

    arpa: str
    fallback: str


@dataclass(frozen=True)
class KenLM:
    """The two programs."""

    lmplz: str
    query: str

    @classmethod
    def find(cls, folder: Optional[str] = None) -> "KenLM":
        """From *folder*, else from the environment's KENLM_BIN, else from the PATH or where `make kenlm` puts them.

        Raises:
            AMIError: they are not there.
        """
        named = folder or os.environ.get("KENLM_BIN")
        path = named or os.pathsep.join([os.environ.get("PATH", os.defpath), str(BUILT)])
        programs = {name: shutil.which(name, path=path) for name in ("lmplz", "query")}
        missing = " and ".join(name for name, found in programs.items() if found is None)
        if missing:
            raise AMIError(f"KenLM's {missing} not found in {named or 'the PATH'}: {HOW_TO_GET}")
        return cls(**programs)

    def estimate(self, text: str, arpa: str, order: int = ORDER, vocabulary: int = 0) -> NGramModel:
        """Estimate an n-gram model.

        Args:
            text: file of :func:`write_sentences`.
            arpa: file to write; temporary files appear beside it.
            order: longest n-gram.
            vocabulary: share the mass of unseen words among so many words in all; 0 treats them as one word.

        Raises:
            NGramError: `lmplz` fails even with its fall-back discounts, or the text is empty.
        """
        if os.path.getsize(text) == 0:
            raise NGramError("there is no sentence to estimate a model from")
        command = [self.lmplz, "-o", str(order), "-S", _MEMORY, "-T", arpa, "--text", text, "--arpa", arpa]
        if vocabulary:
            command += ["--vocab_pad", str(vocabulary)]
        done = _run(command)
        fallback = ""
        if done.returncode and "--discount_fallback" in done.stderr:
            found = _BAD_DISCOUNT.search(done.stderr)
            fallback = found.group() if found else "no discounts"
            done = _run([*command, "--discount_fallback"])
        _check(done, "lmplz")
        return NGramModel(arpa, fallback)

    def perplexity(self, model: NGramModel, text: str) -> Perplexity:
        """Perplexity of a file of :func:`write_sentences`.

        Raises:
            NGramError: `query` fails, or the text is empty.
        """
        if os.path.getsize(text) == 0:
            raise NGramError("there is no sentence to measure")
        with open(text, "rb") as lines:
            done = _run([self.query, "-v", "summary", model.arpa], lines)
        _check(done, "query")
        found = dict(line.split(":\t") for line in done.stdout.splitlines() if ":\t" in line)
        return Perplexity(
            including_oov=float(found["Perplexity including OOVs"]),
            excluding_oov=float(found["Perplexity excluding OOVs"]),
            oov=int(found["OOVs"]),
            tokens=int(found["Tokens"]),
            fallback=model.fallback,
        )


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """For models and texts; respects TMPDIR.

    Raises:
        AMIError: it cannot be made.
    """
    try:
        folder = tempfile.mkdtemp(prefix="fairseq_ami-kenlm-")
    except OSError as error:
        raise AMIError(f"cannot make a temporary folder for KenLM: {error}; set TMPDIR") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_sentences(sentences: Iterable[str], path: str) -> str:
    """One sentence per line, reserved words replaced (:data:`RESERVED`); returns *path*.

    Raises:
        NGramError: it cannot be written.
    """
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as out:
            for sentence in sentences:
                words = _RESERVED.sub(lambda word: RESERVED[word.group()], sentence)
                out.write(words.replace("\n", " ") + "\n")
    except OSError as error:
        raise NGramError(f"cannot write {path}: {error}") from error
    return path


def _run(
    command: "list[str]", stdin: "Union[int, IO[bytes]]" = subprocess.DEVNULL
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise NGramError(f"{command[0]} cannot be started: {error}") from error


def _check(done: "subprocess.CompletedProcess[str]", name: str) -> None:
    """Raise what the program said last, if it failed."""
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip(" *-=0123456789")]
        reason = " ".join(said[-2:]) or "it said nothing"
        how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
        raise NGramError(f"{name} {how}: {reason}"[:400])
