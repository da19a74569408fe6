"""Options of ``fairseq-ami networks``."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="print this network's card (default: list all of them)")
