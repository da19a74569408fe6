"""Options of ``fairseq-ami user-dir``."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options: the folder is where the package was imported from."""
