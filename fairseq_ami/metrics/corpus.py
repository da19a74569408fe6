"""sacreBLEU's corpus metrics by name, and their scores of any set of sentences from sums over sentences."""

from functools import lru_cache
from typing import List, Sequence

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.base import Metric

LOWER_IS_BETTER = ("ter",)


@lru_cache(maxsize=None)
def bleu_metric(tokenize: str = "13a") -> BLEU:
    """sacreBLEU without its warning about tokenised text."""
    return BLEU(tokenize=tokenize, force=True)


def new_corpus_metric(name: str, tokenize: str = "13a") -> Metric:
    """A metric of :data:`fairseq_ami.choices.CORPUS_METRICS` with sacreBLEU's defaults.

    Args:
        name: which.
        tokenize: BLEU's tokenizer.
    """
    if name == "bleu":
        return BLEU(tokenize=tokenize, force=True)
    return {"chrf": CHRF, "ter": TER}[name]()


# one for all: who changes its signature takes a new one
corpus_metric = lru_cache(maxsize=None)(new_corpus_metric)


def sentence_sums(metric: Metric, outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """What each output adds to the sums that the metric's corpus score follows from; shape (outputs, sums)."""
    # sacreBLEU has no public name for them; its own significance tests use these two functions
    return np.array(metric._extract_corpus_statistics(list(outputs), [list(references)]), dtype=np.float64)


def scores_of_sums(metric: Metric, sums: np.ndarray) -> np.ndarray:
    """Corpus scores, 0 to 100 (TER may be above); *sums* has shape (sets, sums), the scores shape (sets,)."""
    rows: List[List[float]] = sums.tolist()
    return np.array([metric._compute_score_from_stats(row).score for row in rows])
