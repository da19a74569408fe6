"""``--reward log-q=1,chrf=0.5,my_package.rewards:fluency=0.2``: names and weights."""

import math
import re
from typing import Callable, Dict, List, Sequence

from fairseq_ami.errors import AMIError
from fairseq_ami.rewards.own import OwnReward
from fairseq_ami.rewards.sampled import Sampled
from fairseq_ami.rewards.similarity import SentenceBleu, SentenceChrf

NETWORK_REWARDS = ("log-q", "infomax", "constant")  # computed by the criterion
SIMILARITIES: Dict[str, Callable[[], Callable[[Sampled], List[float]]]] = {"chrf": SentenceChrf, "bleu": SentenceBleu}
NEED_REFERENCES = tuple(SIMILARITIES)
BUILT_IN = (*NETWORK_REWARDS, *SIMILARITIES)
_OWN_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def parse_rewards(text: str, also: Sequence[str] = ()) -> Dict[str, float]:
    """``log-q`` -> {"log-q": 1.0}; ``chrf=0.5,bleu=0.5`` -> {"chrf": 0.5, "bleu": 0.5}.

    Args:
        text: names and weights.
        also: names that are known beside those of training.

    Raises:
        AMIError: an unknown or repeated name, or a weight that is no number or 0.
    """
    rewards: Dict[str, float] = {}
    known = (*BUILT_IN, *also)
    for part in str(text).split(","):
        name, equals, weight = (piece.strip() for piece in part.partition("="))
        if name not in known and not _OWN_NAME.fullmatch(name):
            raise AMIError(
                f"--reward: there is no reward {name!r}; choose from {', '.join(known)}, or name a function of your "
                "own as module:function"
            )
        if name in rewards:
            raise AMIError(f"--reward: {name} stands there twice")
        try:
            rewards[name] = float(weight) if equals else 1.0
        except ValueError as error:
            raise AMIError(f"--reward: the weight of {name} is no number: {weight!r}") from error
        if not math.isfinite(rewards[name]) or rewards[name] == 0:
            raise AMIError(f"--reward: the weight of {name} must be a number other than 0, not {weight}")
    return rewards


def text_reward(name: str) -> Callable[[Sampled], List[float]]:
    """The reward *name*, which looks at text.

    Raises:
        AMIError: a function of a user's own that cannot be found.
    """
    return SIMILARITIES[name]() if name in SIMILARITIES else OwnReward(name)
