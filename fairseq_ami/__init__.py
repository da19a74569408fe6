"""fairseq_ami: information-driven text generation on fairseq.

Importing the package (``--user-dir fairseq_ami``) registers its tasks, models, criterions and optimizer. Only its own
command starts without them: fairseq and torch take seconds, and some of its verbs need neither.
"""

import os
import sys

from fairseq_ami.version import __version__

__all__ = ["__version__"]


def _is_own_command() -> bool:
    """Whether this process is ``fairseq-ami`` or ``python -m fairseq_ami.cli``."""
    arguments = getattr(sys, "argv", None) or [""]
    if arguments[0] == "-m":  # python imports the package before it writes the module's file there
        return sys.orig_argv[-len(arguments)].removeprefix("-m") == "fairseq_ami.cli"
    return os.path.splitext(os.path.basename(arguments[0]))[0] == "fairseq-ami"


if not _is_own_command():
    from fairseq_ami.plugin import register

    register()
