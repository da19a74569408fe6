"""From what a network wrote to words, and word vectors for them."""

from typing import Collection, List, Optional, Set

from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.word_vectors import WordVectors, read_vectors

# fairseq's own names for them: an unknown word matches nothing, and sacreBLEU does not split it
UNKNOWN_WRITTEN, UNKNOWN_REFERENCE = "UNKNOWNTOKENINHYP", "UNKNOWNTOKENINREF"


def words_of(dictionary: Dictionary, tokens: Tensor, post_process: Optional[str], unknown: str) -> List[str]:
    """Words of a sentence, subwords undone.

    Args:
        dictionary: fairseq's.
        tokens: symbol ids, shape (length,); padding and end symbols are left out.
        post_process: how to undo subwords, e.g. ``"@@ "``, or None.
        unknown: what to write for unknown words.
    """
    ignore = {dictionary.eos(), dictionary.pad()}
    text = dictionary.string(tokens, post_process, extra_symbols_to_ignore=ignore, unk_string=unknown)
    return text.split()


def vectors_of_words(path: str, dictionary: Dictionary, post_process: Optional[str]) -> WordVectors:
    """The vectors that texts over *dictionary* may need; of subwords, all in the file.

    Raises:
        AMIError: as :func:`read_vectors` does.
    """
    words: Collection[str] = _words_in(path) if post_process else set(dictionary.symbols)
    return read_vectors(path, words)


def _words_in(path: str) -> Set[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return {line.split(" ", 1)[0] for line in lines}
    except OSError as error:
        raise AMIError(f"the word vectors {path} cannot be read: {error}") from error
