"""Skip-gram vectors of a text by gensim, as a text file for the embedding metrics: ``vectors.py TEXT FILE``."""

import logging
import sys

from fairseq_ami.cli.texts import read_lines
from fairseq_ami.errors import AMIError
from fairseq_ami.files import write_text
from fairseq_ami.metrics.word_vectors import train_vectors


def main(text: str, output: str) -> None:
    logging.getLogger("gensim").setLevel(logging.WARNING)
    vectors = train_vectors([line.split() for line in read_lines(text)], text)
    numbers = [" ".join(f"{value:.6g}" for value in row) for row in vectors.matrix]
    rows = [f"{word} {numbers[row]}" for word, row in vectors.index.items()]
    write_text(output, "\n".join([f"{len(rows)} {vectors.matrix.shape[1]}", *rows]) + "\n")
    print(f"word vectors: {vectors.name}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AMIError as error:
        sys.exit(f"vectors.py: {error}")
