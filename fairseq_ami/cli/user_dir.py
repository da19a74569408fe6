"""Print the folder to give to --user-dir."""

import argparse
from pathlib import Path

import fairseq_ami


def run(args: argparse.Namespace) -> int:
    # Symbolic links are kept: fairseq compares this path with the package's own, as a string.
    print(Path(fairseq_ami.__file__).parent.absolute())
    return 0
