"""Packages that only some users need."""

import importlib
from types import ModuleType

from fairseq_ami.errors import AMIError

# package -> the extra of setup.py that installs it
EXTRAS = {"ctranslate2": "ctranslate2", "transformers": "huggingface", "tokenizers": "huggingface"}


def needed(package: str, what: str) -> ModuleType:
    """An optional package.

    Args:
        package: its name, a key of ``EXTRAS``.
        what: the option that needs it, for the message.

    Raises:
        AMIError: the package is not installed, or it cannot be imported.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        extra = EXTRAS[package]
        raise AMIError(
            f"{what} needs the package {package} ({error}): install it with pip install 'fairseq_ami[{extra}]'"
        ) from error
