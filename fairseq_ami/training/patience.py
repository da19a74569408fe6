"""``--patience`` when the forward network waits.

fairseq counts a validation that is not better as worse. During noise and backward phases the forward
network stands still and its score cannot improve: such validations must not count. fairseq also forgets
the count in its checkpoints.
"""

import sys
from typing import Any, Dict, Iterator


def _counters() -> Iterator[Any]:
    # fairseq keeps the count on the function; `python -m fairseq_cli.train` has a second copy of it
    for name in ("fairseq_cli.train", "__main__"):
        counter = getattr(sys.modules.get(name), "should_stop_early", None)
        if counter is not None and hasattr(counter, "num_runs"):
            yield counter


def forgive() -> None:
    """Make the coming validation, if it is no better, leave the count as it is."""
    for counter in _counters():
        counter.num_runs -= 1


def state() -> Dict[str, Any]:
    """Count and best score, for the checkpoint; empty before the first validation."""
    for counter in _counters():
        return {"num_runs": counter.num_runs, "best": counter.best}
    return {}


def restore(saved: Dict[str, Any]) -> None:
    """Put the count back."""
    for name in ("fairseq_cli.train", "__main__"):
        counter = getattr(sys.modules.get(name), "should_stop_early", None)
        if counter is not None and saved:
            counter.num_runs, counter.best = saved["num_runs"], saved["best"]
