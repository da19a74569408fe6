"""A reward function of a user's own: found by its name, called with care."""

import importlib
import math
import os
import sys
from typing import Any, Callable, List

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd

from fairseq_ami.checkpoints import first_line
from fairseq_ami.errors import AMIError
from fairseq_ami.rewards.sampled import Sampled


class OwnReward:
    """Calls a user's function and checks what it gives.

    The function gets a :class:`Sampled` and returns one number per sample: a list, an array or a tensor of
    ``len(sampled)`` finite numbers.

    Args:
        name: ``module:function``, importable from where ``fairseq-train`` was started or from ``PYTHONPATH``.

    Raises:
        AMIError: there is no such module or function.
    """

    def __init__(self, name: str):
        self.name = name
        self.function = _found(name)

    def __call__(self, sampled: Sampled) -> List[float]:
        """One number per sample.

        Raises:
            AMIError: the function fails, or gives something else than one finite number per sample.
        """
        try:
            given: Any = self.function(sampled)
        except Exception as error:  # a user's function can fail in any way
            raise AMIError(f"--reward {self.name}: it raised {type(error).__name__}: {first_line(error)}") from error
        try:
            values = given.tolist() if hasattr(given, "tolist") else list(given)
            numbers = [float(value) for value in values]
        except (TypeError, ValueError) as error:
            raise AMIError(
                f"--reward {self.name}: it must return one number per sample, not {type(given).__name__} ({error})"
            ) from error
        if len(numbers) != len(sampled):
            raise AMIError(
                f"--reward {self.name}: it returned {len(numbers)} numbers for {len(sampled)} samples: return one "
                "number per sample, in the order of the outputs"
            )
        wrong = [index for index, number in enumerate(numbers) if not math.isfinite(number)]
        if wrong:
            raise AMIError(
                f"--reward {self.name}: it returned {numbers[wrong[0]]} for the sample {sampled.outputs[wrong[0]]!r} "
                f"({len(wrong)} of {len(numbers)} are not finite)"
            )
        return numbers


def _found(name: str) -> Callable[[Sampled], Any]:
    module_name, _, function_name = name.partition(":")
    here = get_original_cwd() if HydraConfig.initialized() else os.getcwd()  # hydra starts a run in a folder of its own
    if here not in sys.path:  # the folder of the command is there, not the one it was started in
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs a user's code
        why = f"{type(error).__name__}: {first_line(error)}"
        raise AMIError(f"--reward {name}: cannot import {module_name} ({why}). Is it on PYTHONPATH?") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise AMIError(f"--reward {name}: {module_name} has no function {function_name!r}")
    return function
