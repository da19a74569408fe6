"""The one exception for mistakes that a user can mend, and how it is shown."""

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Optional, Type

if TYPE_CHECKING or "hydra" not in sys.modules:
    _Base = ValueError
else:  # fairseq-hydra-train shows exceptions of hydra's own kind by their message alone
    from hydra.errors import CompactHydraException

    class _Base(ValueError, CompactHydraException):
        pass


class AMIError(_Base):
    """Wrong input or settings: the message says what was wrong, where, and what to do."""


NO_TASK = (
    "this command of fairseq needs the task of the checkpoint: pass --task ami_translation, ami_dialog, text_vae, or "
    "translation for a stock network"
)
NO_LANGUAGE_MODEL = (
    "fairseq-eval-lm reads stock language models: for a text VAE or its language model use fairseq-ami vae-eval, for a "
    "pair fairseq-validate --task ami_translation"
)


def _message(kind: type, value: BaseException) -> Optional[str]:
    """What an :class:`AMIError` says, also one of per process that torch's launcher started; None of any other."""
    if issubclass(kind, AMIError):
        return str(value)
    last = (str(value).strip().splitlines() or [""])[-1]
    start = f"{AMIError.__module__}.{AMIError.__name__}: "  # torch hands on the text of the traceback
    return last[len(start) :] if kind.__name__ == "ProcessRaisedException" and last.startswith(start) else None


def _advice(value: BaseException, trace: Optional[TracebackType]) -> Optional[str]:
    """What to do about a mistake on the command line that fairseq meets before any code of ours; None of any other."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(trace)]
    inside = {(Path(code.co_filename).name, code.co_name) for code in codes}
    if isinstance(value, KeyError) and value.args == (None,) and ("options.py", "parse_args_and_arch") in inside:
        return NO_TASK
    if isinstance(value, FileNotFoundError) and str(value.filename).endswith("dict.txt"):
        return NO_LANGUAGE_MODEL if ("eval_lm.py", "main") in inside else None
    return None


def show_without_traceback() -> None:
    """Let an uncaught :class:`AMIError` end the program with its message alone.

    fairseq's commands have no place for user errors: they would end in a traceback through the
    trainer. A missing ``--task`` is shown in the same way. Every other exception goes to the hook that was there
    before.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_ami_errors", False):
        return

    def hook(kind: Type[BaseException], value: BaseException, trace: Optional[TracebackType]) -> None:
        message = _message(kind, value) or _advice(value, trace)
        if message is None:
            previous(kind, value, trace)
        else:
            print(f"fairseq_ami: error: {message}", file=sys.stderr)

    setattr(hook, "shows_ami_errors", True)
    sys.excepthook = hook
