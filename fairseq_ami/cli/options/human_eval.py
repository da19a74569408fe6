"""Options of ``fairseq-ami human-eval``."""

import argparse

from fairseq_ami.cli.arguments import positive

QUESTION = "Which of the two replies is better?"


SEPARATOR = "__eou__"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="prepare|score", required=True)
    prepare = actions.add_parser("prepare", help="draw histories, write the judges' pages and the key")
    add_texts(prepare)
    help_pair = "systems to compare, wins and losses are A's (default: the last system with each other one)"
    prepare.add_argument("--pair", nargs=2, action="append", metavar=("A", "B"), help=help_pair)
    prepare.add_argument("--count", type=positive, default=120, help="histories to draw (default: 120)")
    prepare.add_argument("--seed", type=int, default=1, help="seed of the draw and of the sides (default: 1)")
    prepare.add_argument("--sets", type=positive, help="pages that the items are dealt out to (default: one per pair)")
    prepare.add_argument("--question", default=QUESTION, help=f"question to the judges (default: {QUESTION})")
    help_identical = "what to do with items whose two replies are the same (default: keep)"
    prepare.add_argument("--identical", choices=("keep", "drop"), default="keep", help=help_identical)
    prepare.add_argument("--out", required=True, metavar="DIR", help="folder to make, which must not exist yet")
    scoring = actions.add_parser("score", help="wins, losses, ties, agreement and sign tests")
    scoring.add_argument("--key", required=True, metavar="FILE", help="the study's key.json")
    scoring.add_argument("answers", nargs="+", metavar="FILE", help="files of the judges: CSV or JSON")
    scoring.add_argument("--json", metavar="FILE", help="write everything to FILE as well")


def add_texts(parser: argparse.ArgumentParser) -> None:
    """Options of the texts, shared with `compare`."""
    parser.add_argument("--histories", required=True, metavar="FILE", help="histories, one per line")
    help_system = "replies of one system, one per line; repeat for each system"
    parser.add_argument("--system", required=True, action="append", metavar="NAME=FILE", help=help_system)
    help_separator = f"symbol between the turns of a history (default: {SEPARATOR})"
    parser.add_argument("--separator", default=SEPARATOR, metavar="TOKEN", help=help_separator)
