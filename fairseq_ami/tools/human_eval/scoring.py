"""Wins, losses and ties of each pair of systems, agreement of the judges, and sign tests (AMI, Table 3)."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Set

import numpy as np
from scipy.stats import binomtest

from fairseq_ami.tools.human_eval.answers import Key, KeyItem, Row
from fairseq_ami.tools.human_eval.sheet import Pair

WIN, LOSS, TIE = range(3)


@dataclass(frozen=True)
class PairScore:
    """What the judges say of one pair; wins and losses are those of the first system."""

    pair: Pair
    items: int
    identical: int  # items whose two replies are the same
    dropped: int  # such items that were left out of the sheet
    judges: int  # of one item, at most: those who sent anything in from its set
    wins: int
    losses: int
    ties: int
    left_out: int  # judgements that a judge of the set did not give
    kappa: Optional[float]  # Fleiss' kappa over win, loss and tie; None: undefined
    kappa_items: int  # items that all judges judged: those that kappa is of
    p_judgements: float  # two-sided sign test over judgements, ties excluded
    p_items: float  # the same over items, each counted for the system that more of its judges prefer

    @property
    def judgements(self) -> int:
        return self.wins + self.losses + self.ties


def score(key: Key, rows: Sequence[Row]) -> List[PairScore]:
    """Scores of all pairs, in the order in which they were asked for."""
    judges: Dict[int, Set[str]] = defaultdict(set)  # of each set
    counts = {number: [0, 0, 0] for number in key.items}  # item -> wins, losses, ties
    for row in rows:
        item = key.items[row.item]
        judges[item.set].add(row.judge)
        if row.answer:
            counts[row.item][_outcome(row.answer, item)] += 1
    scores = []
    for pair in key.pairs:
        numbers = [number for number, item in key.items.items() if item.pair == pair]
        answers = np.array([counts[number] for number in numbers])
        expected = np.array([len(judges[key.items[number].set]) for number in numbers])
        identical = sum(key.items[number].identical for number in numbers)
        scores.append(_score_pair(pair, answers, expected, identical, dropped=key.count - len(numbers)))
    return scores


def _outcome(answer: str, item: KeyItem) -> int:
    if answer == "tie":
        return TIE
    return WIN if (answer == "left") == (item.left == item.pair[0]) else LOSS


def _score_pair(pair: Pair, counts: np.ndarray, judges: np.ndarray, identical: int, dropped: int) -> PairScore:
    """*counts*: (items, 3); *judges*: (items,), who could have judged each."""
    wins, losses, ties = (int(total) for total in counts.sum(axis=0))
    complete = counts[counts.sum(axis=1) == judges.max()]
    majority = np.sign(counts[:, WIN] - counts[:, LOSS])
    return PairScore(
        pair=pair,
        items=len(counts),
        identical=identical,
        dropped=dropped,
        judges=int(judges.max()),
        wins=wins,
        losses=losses,
        ties=ties,
        left_out=int(judges.sum() - counts.sum()),
        kappa=fleiss_kappa(complete),
        kappa_items=len(complete) if judges.max() else 0,
        p_judgements=sign_test(wins, losses),
        p_items=sign_test(int((majority > 0).sum()), int((majority < 0).sum())),
    )


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p of the null hypothesis that either system wins half of the time; 1 if nobody ever won."""
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def fleiss_kappa(counts: np.ndarray) -> Optional[float]:
    """Agreement beyond chance (Fleiss 1971): (P - P_e) / (1 - P_e).

    P is the share of the pairs of judges of one item that agree, averaged over items. P_e is what it would be if every
    answer were drawn from the shares of the categories.

    Args:
        counts: (items, categories), how many judges chose what; the same number of judges in each row.

    Returns:
        None where it is undefined: no items, fewer than two judges, or one category only.
    """
    judges = counts.sum(axis=1)
    if not len(counts) or judges[0] < 2:
        return None
    if (judges != judges[0]).any():
        raise ValueError("Fleiss' kappa needs the same number of judges for every item")
    agreement = (counts * (counts - 1)).sum(axis=1) / (judges * (judges - 1))
    shares = counts.sum(axis=0) / counts.sum()
    chance = float((shares**2).sum())
    return float((agreement.mean() - chance) / (1 - chance)) if (shares < 1).all() else None
