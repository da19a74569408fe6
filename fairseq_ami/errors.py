"""The one exception for mistakes that a user can mend, and how it is shown."""

import sys


class AMIError(ValueError):
    """Wrong input or settings: the message says what was wrong, where, and what to do."""


def show_without_traceback() -> None:
    """Let an uncaught :class:`AMIError` end the program with its message alone.

    fairseq's commands have no place for user errors: they would end in a traceback through the
    trainer. Every other exception goes to the hook that was there before.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_ami_errors", False):
        return

    def hook(kind, value, trace):
        if issubclass(kind, AMIError):
            print(f"fairseq_ami: error: {value}", file=sys.stderr)
        else:
            previous(kind, value, trace)

    hook.shows_ami_errors = True
    sys.excepthook = hook
