"""Packages that only some users need."""

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Iterator

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


def transformers_for_text(what: str) -> ModuleType:
    """Hugging Face transformers with the classes of translation loaded.

    transformers imports torchaudio wherever it is installed, and fairseq installs it. Beside a CPU-only torch its usual
    wheel cannot be loaded, and no network of text needs it. An empty module stands in for it then.

    Raises:
        AMIError: the package is not installed, or it cannot be imported.
    """
    transformers = needed("transformers", what)
    with _stand_in("torchaudio"):
        try:
            for name in ("AutoModelForSeq2SeqLM", "FSMTForConditionalGeneration", "M2M100ForConditionalGeneration"):
                getattr(transformers, name)
        except (ImportError, OSError, AttributeError) as error:
            raise AMIError(f"{what} cannot use transformers {transformers.__version__}: {error}") from error
    return transformers


@contextmanager
def _stand_in(package: str) -> Iterator[None]:
    """An empty module instead of a package that is installed and cannot be imported."""
    try:
        importlib.import_module(package)
    except ImportError:
        broken = importlib.util.find_spec(package) is not None
    except OSError:
        broken = True
    else:
        broken = False
    if not broken:
        yield
        return
    module = ModuleType(package)
    module.__spec__ = ModuleSpec(package, None)
    sys.modules[package] = module
    try:
        yield
    finally:
        sys.modules.pop(package, None)
