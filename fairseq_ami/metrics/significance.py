"""Whether a difference between two systems may be chance: paired approximate randomisation and Holm's correction."""

from typing import Callable, Iterable, Iterator, List, Sequence, Union

import numpy as np

TRIALS_AT_ONCE = 64


def swaps(
    units: int, trials: int, seed: Union[int, Sequence[int]], progress: Callable[[range], Iterable[int]] = lambda r: r
) -> Iterator[np.ndarray]:
    """Which units keep their two outputs where they are, and which exchange them: a fair coin for each.

    Args:
        units: how many pairs of outputs there are.
        trials: how often all coins are thrown.
        seed: of numpy's generator; the same coins for a seed.
        progress: called with the starts of the parts, returns them; for a progress bar.

    Yields:
        booleans of shape (some trials, units), True where nothing is exchanged.
    """
    generator = np.random.default_rng(seed)
    for start in progress(range(0, trials, TRIALS_AT_ONCE)):
        yield generator.integers(2, size=(min(TRIALS_AT_ONCE, trials - start), units), dtype=np.int8).astype(bool)


def p_value(observed: float, drawn: np.ndarray, rounding: float = 0.0) -> float:
    """Two-sided p-value of a randomisation test (Noreen, 1989; Riezler and Maxwell, 2005): (c + 1) / (trials + 1).

    c counts the trials whose difference is at least as large as the observed one. Equal systems get 1.

    Args:
        observed: the difference between the two systems.
        drawn: the difference after each trial's exchanges, shape (trials,).
        rounding: differences count as equal up to this much.
    """
    as_large = np.abs(drawn) >= abs(observed) - rounding
    return (int(np.count_nonzero(as_large)) + 1) / (len(drawn) + 1)


def holm(p_values: Sequence[float]) -> List[float]:
    """Adjusted p-values of several tests (Holm, 1979), in the order given.

    Rejecting all that are at most alpha keeps the chance of one false rejection or more at most alpha, however the
    tests depend on one another.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
