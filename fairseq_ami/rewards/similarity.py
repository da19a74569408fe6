"""Similarity of a sample to its reference, as sacreBLEU defines it for a sentence."""

from typing import List

from sacrebleu.metrics import BLEU, CHRF

from fairseq_ami.rewards.sampled import Sampled

try:  # gives the same numbers fifteen times as fast
    from fastchrf import pairwise_chrf
except ImportError:
    pairwise_chrf = None


def chrf(outputs: List[List[str]], references: List[str]) -> List[List[float]]:
    """chrF of each output against the reference of its row (Popovic, 2015): character 6-grams, beta 2.

    Returns:
        sacreBLEU's scores, between 0 and 100.
    """
    return [[score for (score,) in row] for row in chrf_matrices(outputs, [[r] for r in references])]


def chrf_matrices(outputs: List[List[str]], references: List[List[str]]) -> List[List[List[float]]]:
    """chrF of each output against each reference of its row, one reference at a time.

    Returns:
        sacreBLEU's scores, between 0 and 100: by row, output and reference.
    """
    if pairwise_chrf is not None:
        return pairwise_chrf(outputs, references)
    metric = CHRF()
    return [[[metric.sentence_score(o, [r]).score for r in rs] for o in os] for os, rs in zip(outputs, references)]


class SentenceChrf:
    """chrF of each sample, as a fraction of 1."""

    def __call__(self, sampled: Sampled) -> List[float]:
        k = sampled.samples_per_source
        rows = [sampled.outputs[i : i + k] for i in range(0, len(sampled), k)]
        return [score / 100 for row in chrf(rows, sampled.references[::k]) for score in row]


class SentenceBleu:
    """Smoothed BLEU of each sample (sacreBLEU's defaults, effective order), as a fraction of 1."""

    def __init__(self) -> None:
        self.metric = BLEU(effective_order=True)

    def __call__(self, sampled: Sampled) -> List[float]:
        pairs = zip(sampled.outputs, sampled.references)
        return [self.metric.sentence_score(output, [reference]).score / 100 for output, reference in pairs]
