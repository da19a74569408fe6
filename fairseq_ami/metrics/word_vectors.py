"""Word vectors of the embedding metrics: read from a text file of GloVe or word2vec, or trained with gensim."""

import math
import os
from dataclasses import dataclass
from functools import partial
from typing import Callable, Collection, Dict, Iterable, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from fairseq_ami.errors import AMIError


@dataclass(frozen=True)
class WordVectors:
    """Vectors of some words.

    Attributes:
        index: word -> row of the matrix.
        matrix: float64 of shape (words, dimensions).
        name: where they are from, to stand beside every figure made with them.
    """

    index: Mapping[str, int]
    matrix: np.ndarray
    name: str

    def rows(self, words: Sequence[str]) -> List[int]:
        """Rows of the words that have a vector, in order; the others are skipped."""
        return [self.index[word] for word in words if word in self.index]


def read_vectors(path: str, words: Collection[str]) -> WordVectors:
    """The vectors of *words* in a text file of GloVe, word2vec, fastText or gensim (``save_word2vec_format``).

    A line is a word and its numbers. A first line of two whole numbers (words, dimensions) is a header. Words are
    compared as they are, upper and lower case apart; the first of equal words counts. The file is streamed.

    Raises:
        AMIError: unreadable, no text file, a line of another dimension (file and line), fewer lines than the header
            says, or no line for any of *words*.
    """
    wanted = {word.encode("utf-8"): word for word in words}
    index: Dict[str, int] = {}
    found: List[List[float]] = []
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as lines:
            for word, numbers in _entries(path, lines):
                text = wanted.pop(word, None)  # the first of equal words counts
                if text is not None:
                    index[text] = len(found)
                    found.append(numbers())
    except OSError as error:
        raise AMIError(f"the word vectors {path} cannot be read: {error}") from error
    if not found:
        why = f"none of the {len(words)} words of the texts occurs in it" if size else "it is empty"
        raise AMIError(f"the word vectors {path} are of no use: {why}. Are language, case and tokenisation the same?")
    matrix = np.array(found)
    return WordVectors(index, matrix, f"{path}, {matrix.shape[1]} dimensions")


def _entries(path: str, lines: Iterable[bytes]) -> Iterator[Tuple[bytes, Callable[[], List[float]]]]:
    """Word and a function that reads its numbers. Words of several tokens (GloVe 840B has some) are passed over."""
    dimensions, announced, number, header = 0, None, 0, 0
    for number, line in enumerate(lines, 1):
        if dimensions and line.rstrip().count(b" ") == dimensions:  # counting is much faster than splitting
            word, _, rest = line.partition(b" ")
            yield word, partial(_numbers, path, number, rest, dimensions)
            continue
        word, *fields = line.split() or [b""]
        if number == 1 and word.isdigit() and len(fields) == 1 and fields[0].isdigit():
            header, announced, dimensions = 1, int(word), int(fields[0])
            continue
        dimensions = dimensions or len(fields)
        if len(fields) > dimensions and not _is_number(fields[0]):
            continue
        if len(fields) != dimensions or not dimensions:
            raise AMIError(
                f"{path}, line {number}: {len(fields)} numbers instead of {dimensions or 'at least one'}. A text file "
                "of word vectors is needed (a word and its numbers a line), not a binary one"
            )
        yield word, partial(_numbers, path, number, b" ".join(fields), dimensions)
    if announced is not None and number - header < announced:
        raise AMIError(f"{path} is cut off: {number - header} of the {announced} vectors that its first line announces")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(path: str, number: int, text: bytes, dimensions: int) -> List[float]:
    fields = text.split()
    values = [float(field) if _is_number(field) else math.nan for field in fields]
    if len(values) != dimensions or not all(map(math.isfinite, values)):
        raise AMIError(f"{path}, line {number}: not a word and {dimensions} finite numbers")
    return values


def train_vectors(
    sentences: Sequence[Sequence[str]], name: str, dimensions: int = 200, epochs: int = 10, seed: int = 1
) -> WordVectors:
    """Skip-gram vectors of all words of *sentences*, trained with gensim; the same in every run on one machine.

    Args:
        sentences: words of the training text.
        name: of the training text.
        dimensions: of the vectors.
        epochs: passes over the text.
        seed: of gensim.

    Raises:
        AMIError: gensim is not installed, or there is nothing to train on.
    """
    try:
        import gensim
        from gensim.models import Word2Vec
    except ImportError as error:
        message = "training word vectors needs gensim: pip install 'fairseq_ami[vectors]', or pass --vectors"
        raise AMIError(message) from error
    if not any(sentences):
        raise AMIError(f"{name} has no words to train vectors on")
    model = Word2Vec(
        sentences,
        vector_size=dimensions,
        epochs=epochs,
        sg=1,
        min_count=1,
        seed=seed,
        workers=1,  # several threads would take turns in another order each time
    )
    settings = f"skip-gram, {dimensions} dimensions, window {model.window}, {epochs} epochs, seed {seed}"
    described = f"trained on {name} ({len(sentences)} lines) with gensim {gensim.__version__} ({settings})"
    return WordVectors(model.wv.key_to_index, model.wv.vectors.astype(np.float64), described)
