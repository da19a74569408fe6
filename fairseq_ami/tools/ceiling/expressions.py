"""Rewards as they are named on the command line: those of training, and four more to compare with."""

from typing import Dict, List, Sequence

from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.rewards import parse_rewards

LOG_P, K_LOG_Q, K, LENGTH = "log-p", "k-log-q", "k", "length"
MORE = (LOG_P, K_LOG_Q, K, LENGTH)  # beside those of training
OF_BACKWARD = ("log-q", K_LOG_Q, "infomax")
WITH_BACKWARD = ("log-q", K_LOG_Q, LOG_P, f"log-q=1,{LOG_P}=1", "chrf", "bleu")  # what is told unless asked
WITHOUT_BACKWARD = (LOG_P, "chrf", "bleu")

Expressions = Dict[str, Dict[str, float]]  # text of an expression -> reward -> weight


def parse_expressions(texts: Sequence[str]) -> Expressions:
    """Weighted sums of rewards, each text once.

    Raises:
        AMIError: names or weights that cannot be read.
    """
    return {text: parse_rewards(text, also=MORE) for text in texts}


def usual(pair: PairedModel) -> Expressions:
    """What is told of *pair* where no reward is named."""
    return parse_expressions(WITHOUT_BACKWARD if pair.backward_model is None else WITH_BACKWARD)


def check_networks(expressions: Expressions, pair: PairedModel, name: str) -> None:
    """Refuse rewards that the networks cannot give.

    Raises:
        AMIError: a reward of the backward network where there is none, or of heads that it does not have.
    """
    for reward in names_of(expressions):
        if reward in OF_BACKWARD and pair.backward_model is None:
            raise AMIError(f"--reward {reward} needs a backward network, and {name} has none: name one with --backward")
        if reward == "infomax" and pair.infomax is None:
            raise AMIError(f"--reward infomax needs the heads of --infomax-dim, and {name} was trained without them")


def names_of(expressions: Expressions) -> List[str]:
    """Every reward that an expression names, once."""
    return list(dict.fromkeys(name for weights in expressions.values() for name in weights))


def weighted(weights: Dict[str, float], parts: Dict[str, Tensor]) -> Tensor:
    """The weighted sum of rewards, each of shape (sources, k)."""
    total = sum(weight * parts[name].double() for name, weight in weights.items())
    assert isinstance(total, Tensor)  # parse_rewards gives at least one
    return total
