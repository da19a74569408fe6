"""Options of ``fairseq-ami average``."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--inputs",
        nargs="+",
        required=True,
        metavar="PATH",
        help="checkpoints to average, or one folder of them (a --save-dir)",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="checkpoint to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--num-epoch-checkpoints", type=int, metavar="N", help="take the last N epochs in the folder of --inputs"
    )
    which.add_argument(
        "--num-update-checkpoints",
        type=int,
        metavar="N",
        help="take the last N checkpoints of --save-interval-updates in the folder of --inputs",
    )
    parser.add_argument(
        "--checkpoint-upper-bound",
        type=int,
        metavar="N",
        help="leave out checkpoints of a later epoch or update than N",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
