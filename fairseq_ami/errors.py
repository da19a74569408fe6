"""The one exception for mistakes that a user can mend, and how it is shown."""

import sys
from types import TracebackType
from typing import Optional, Type


class AMIError(ValueError):
    """Wrong input or settings: the message says what was wrong, where, and what to do."""


def _message(kind: type, value: BaseException) -> Optional[str]:
    """What an :class:`AMIError` says, also one of a process that torch's launcher started; None of any other."""
    if issubclass(kind, AMIError):
        return str(value)
    last = (str(value).strip().splitlines() or [""])[-1]
    start = f"{AMIError.__module__}.{AMIError.__name__}: "  # torch hands on the text of the traceback
    return last[len(start) :] if kind.__name__ == "ProcessRaisedException" and last.startswith(start) else None


def show_without_traceback() -> None:
    """Let an uncaught :class:`AMIError` end the program with its message alone.

    fairseq's commands have no place for user errors: they would end in a traceback through the
    trainer. Every other exception goes to the hook that was there before.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_ami_errors", False):
        return

    def hook(kind: Type[BaseException], value: BaseException, trace: Optional[TracebackType]) -> None:
        message = _message(kind, value)
        if message is None:
            previous(kind, value, trace)
        else:
            print(f"fairseq_ami: error: {message}", file=sys.stderr)

    setattr(hook, "shows_ami_errors", True)
    sys.excepthook = hook
