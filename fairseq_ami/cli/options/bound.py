"""Options of ``fairseq-ami bound``."""

import argparse

from fairseq_ami.cli.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help="binarised data")
    parser.add_argument("--path", nargs="+", required=True, metavar="[NAME=]FILE", help="checkpoints of pairs")
    parser.add_argument("-s", "--source-lang", help="source language of the pairs (default: as they were trained)")
    parser.add_argument("-t", "--target-lang", help="target language of the pairs (default: as they were trained)")
    parser.add_argument("--subset", default="test", help="split of the data (default: test)")
    parser.add_argument("--common-q", metavar="FILE", help="pair whose backward network is the common Q")
    parser.add_argument("--frozen-samples", metavar="FILE", help="pair whose forward network draws the frozen samples")
    likeness = parser.add_argument_group("what the backward network decodes (Table 2)")
    vectors = likeness.add_mutually_exclusive_group()
    vectors.add_argument(
        "--vectors", metavar="FILE", help="measure the embedding average with the word vectors in FILE, as text"
    )
    vectors.add_argument(
        "--train-text", metavar="FILE", help="train the word vectors on the text in FILE (needs gensim)"
    )
    likeness.add_argument("--beam", type=positive, default=1, help="beam of the backward network's search (default: 1)")
    likeness.add_argument(
        "--remove-bpe",
        nargs="?",
        const="@@ ",
        metavar="HOW",
        help="undo subwords in what is decoded (HOW without a value: @@ )",
    )
    parser.add_argument("--max-tokens", type=int, default=4000, help="tokens per batch (default: 4000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the samples (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
