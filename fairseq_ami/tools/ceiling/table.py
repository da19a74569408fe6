"""The table: what each reward knows of quality, and what it would pick, beside beam search and chance."""

from dataclasses import asdict, dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from fairseq_ami.rewards.similarity import chrf
from fairseq_ami.tools.ceiling.drawing import Drawn, Told
from fairseq_ami.tools.ceiling.expressions import Expressions, weighted
from fairseq_ami.tools.ceiling.statistics import best_of, picked, rank_correlation, without_linear_length
from fairseq_ami.tools.reranking.scores import counts_of_texts

BEAM, CHANCE = "beam search", "chance"
LENGTHS = ("as-is", "neutral")


@dataclass(frozen=True)
class Row:
    """One reward, beam search or chance.

    Attributes:
        checkpoint: whose forward network drew the samples.
        subset: of the data.
        sources: that were looked at.
        samples: per source.
        temperature: of the samples; None of beam search.
        picked_by: a reward, ``beam search`` or ``chance``.
        reward_length: ``as-is`` or ``neutral``; None of beam search and chance.
        rho_bleu, rho_chrf: mean rank correlation within a source with sentence BLEU and sentence chrF; None where no
            source tells.
        left_out_bleu, left_out_chrf: sources left out of them, whose samples are all equal in reward or quality.
        bleu: corpus BLEU of the picks.
        length_ratio: words of the picks over words of the references, as BLEU counts them.
    """

    checkpoint: str
    subset: str
    sources: int
    samples: int
    temperature: Optional[float]
    picked_by: str
    reward_length: Optional[str]
    rho_bleu: Optional[float]
    rho_chrf: Optional[float]
    left_out_bleu: Optional[int]
    left_out_chrf: Optional[int]
    bleu: float
    length_ratio: float

    def as_dict(self) -> Dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Table:
    """Rows, and sacreBLEU's signature of their corpus BLEU."""

    rows: List[Row]
    signature: str


def table(
    checkpoint: str, subset: str, told: Told, expressions: Expressions, lengths: Sequence[str], tokenize: str
) -> Table:
    """Judge *expressions* by the samples of a subset.

    Args:
        checkpoint, subset: names.
        told: the samples.
        expressions: weighted sums of rewards.
        lengths: of :data:`LENGTHS`: rewards as they are, without what is linear in length, or both.
        tokenize: sacreBLEU's tokenizer.
    """
    sources = len(told.references)
    searched = counts_of_texts([[text] for text in told.beam], told.references, tokenize)
    score = searched.bleu(np.zeros(sources, dtype=int))
    nothing = (None, None, None, None)
    ratio = score.sys_len / max(score.ref_len, 1)
    rows = [Row(checkpoint, subset, sources, 1, None, BEAM, None, *nothing, score.score, ratio)]
    for temperature, drawn in told.drawn.items():
        judge, k = _Judge(drawn, told.references, tokenize), drawn.lengths.size(1)
        common = (checkpoint, subset, sources, k, temperature)
        rows.append(Row(*common, CHANCE, None, *nothing, *judge.picks(np.zeros((sources, k)))))
        for name, weights in expressions.items():
            values = weighted(weights, drawn.rewards).numpy()
            for length in lengths:
                shaped = _shaped(values, judge.lengths, length)
                rows.append(Row(*common, name, length, *judge.knows(shaped), *judge.picks(shaped)))
    return Table(rows, searched.signature)


def _shaped(values: np.ndarray, lengths: np.ndarray, how: str) -> np.ndarray:
    return values if how == "as-is" else without_linear_length(values, lengths)


def picks(drawn: Drawn, weights: Dict[str, float], length: str, seed: int) -> List[str]:
    """For each source the sample of highest reward, with subwords: what best-of-N fine-tuning learns from.

    Args:
        drawn: samples of one temperature.
        weights: of the rewards.
        length: ``as-is`` or ``neutral``.
        seed: of the draw among equals.
    """
    values = _shaped(weighted(weights, drawn.rewards).numpy(), drawn.lengths.numpy(), length)
    chosen = best_of(values, drawn.first.numpy(), seed)
    return [pieces[int(best)] for pieces, best in zip(drawn.pieces, chosen)]


class _Judge:
    """The quality of the samples of one temperature."""

    def __init__(self, drawn: Drawn, references: List[str], tokenize: str):
        self.lengths, self.first = drawn.lengths.numpy(), drawn.first.numpy()
        self.counts = counts_of_texts(drawn.texts, references, tokenize)
        self.bleu, self.chrf = self.counts.of_sentences(), np.array(chrf(drawn.texts, references))

    def knows(self, values: np.ndarray) -> Tuple[Optional[float], Optional[float], int, int]:
        """Rank correlation with sentence BLEU and chrF, and the sources left out of each."""
        (bleu, bleu_out), (char, char_out) = (rank_correlation(values, of) for of in (self.bleu, self.chrf))
        return bleu, char, bleu_out, char_out

    def picks(self, values: np.ndarray) -> Tuple[float, float]:
        """Corpus BLEU and length ratio of the samples of highest reward."""
        found = picked(values, self.first, self.counts)
        return found.bleu, found.length
