"""Options of ``fairseq-ami compare``."""

import argparse
from typing import List

from fairseq_ami.cli.arguments import positive
from fairseq_ami.cli.options.human_eval import add_texts

HUMAN = "Human"  # the paper's name for the real replies


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_texts(parser)
    parser.add_argument("--references", metavar="FILE", help=f"real replies, shown last as {HUMAN}")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--count", type=positive, default=10, help="histories to draw (default: 10)")
    which.add_argument("--lines", type=line_numbers, metavar="3,17", help="lines to show, counted from 1")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw of --count (default: 1)")
    parser.add_argument("--html", metavar="FILE", help="write a page to FILE")
    parser.add_argument("--markdown", metavar="FILE", help="write Markdown to FILE (default without --html: print it)")


def line_numbers(text: str) -> List[int]:
    return [positive(number) for number in text.split(",")]
