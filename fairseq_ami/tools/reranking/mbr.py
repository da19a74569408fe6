"""Minimum Bayes risk: the candidate that is most like the others (Kumar and Byrne, 2004; Eikema and Aziz, 2020).

A candidate's utility is its sentence chrF against another candidate. Its expected utility is the mean over all others,
which stand for what the network might have written. A text that was drawn several times counts as often.
"""

from typing import List, Optional, Sequence

import numpy as np

from fairseq_ami.errors import AMIError
from fairseq_ami.rewards.similarity import chrf_matrices
from fairseq_ami.tools.reranking.nbest import Candidates
from fairseq_ami.tools.reranking.scores import IMPOSSIBLE
from fairseq_ami.types import Progress


def expected_utilities(texts: Sequence[str], log_weights: Optional[Sequence[float]] = None) -> np.ndarray:
    """Of each text the mean chrF against the others.

    Args:
        texts: candidates, repeated as often as they were drawn.
        log_weights: logarithm of how much each one counts as a partner, up to a constant; None: equally much.

    Returns:
        0 to 100, shape (texts,); 0 for a text without partners.
    """
    if len(texts) < 2:
        return np.zeros(len(texts))
    distinct = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(distinct)}
    rows = np.array([place[text] for text in texts])
    (matrix,) = chrf_matrices([distinct], [distinct])
    utilities = np.array(matrix)[np.ix_(rows, rows)]
    logs = np.zeros(len(texts)) if log_weights is None else np.asarray(log_weights, dtype=np.float64)
    logs = np.tile(np.where(np.isfinite(logs), logs, IMPOSSIBLE), (len(texts), 1))
    np.fill_diagonal(logs, -np.inf)  # nobody is a partner of itself
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (weights * utilities).sum(axis=1) / weights.sum(axis=1)


def choose_by_risk(
    lists: Sequence[Candidates], weights: str = "uniform", progress: Progress = lambda items, what: items
) -> np.ndarray:
    """Index of the hypothesis of highest expected utility of each source; the first of equals wins.

    Args:
        lists: the n-best lists, or samples.
        weights: how much a partner counts, one of :data:`fairseq_ami.choices.MBR_WEIGHTS`: equally much, or by its
            P(T'|S).
        progress: called with the lists and what is done, returns the lists; for a progress bar.

    Returns:
        shape (sources,).

    Raises:
        AMIError: weights by probability, and hypotheses whose log P(T'|S) is not known.
    """
    choice: List[int] = []
    for entry in progress(lists, "minimum Bayes risk"):
        log_probs = [hypothesis.log_prob for hypothesis in entry.hypotheses] if weights == "probability" else None
        if log_probs is not None and None in log_probs:
            raise AMIError("--mbr probability needs the P- lines of fairseq-generate in the n-best file")
        utilities = expected_utilities([hypothesis.text for hypothesis in entry.hypotheses], log_probs)
        # equal texts must be equal to the last bit, or rounding would choose among them
        choice.append(int(np.argmax(utilities.round(9))))
    return np.array(choice)
