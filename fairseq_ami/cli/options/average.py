"""Options of ``fairseq-ami average``."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--inputs", nargs="+", required=True, metavar="PATH", help="checkpoints; or one --save-dir")
    parser.add_argument("--output", required=True, metavar="FILE", help="checkpoint to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--num-epoch-checkpoints", type=int, metavar="N", help="the last N epochs in the --save-dir")
    which.add_argument("--num-update-checkpoints", type=int, metavar="N", help="the last N of --save-interval-updates")
    parser.add_argument("--checkpoint-upper-bound", type=int, metavar="N", help="none of a later epoch or update")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
