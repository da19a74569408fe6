"""What the verbs tell while they work."""

import logging
import os
import sys
from typing import Any, Iterable

from tqdm import tqdm


def show_progress(least: str = "INFO") -> None:
    """fairseq's messages in fairseq's form, on stderr: stdout is for the table.

    Args:
        least: level of the messages that are shown, unless the variable LOGLEVEL names another.
    """
    form = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"
    level = os.environ.get("LOGLEVEL", least).upper()
    logging.basicConfig(format=form, datefmt="%Y-%m-%d %H:%M:%S", level=level, stream=sys.stderr, force=True)
    logging.getLogger("hydra").setLevel(logging.WARNING)


def progress_bar(items: Iterable[Any], what: str) -> Iterable[Any]:
    """*items* with a bar on a terminal."""
    return tqdm(items, desc=what, leave=False, disable=None)  # None: no bar where there is no terminal
