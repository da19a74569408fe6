"""Rewards of sampled text, by name: what a policy is trained for.

Rewards that need networks (``log-q``, ``infomax``, the anchor) are computed where the networks are, in
``criterions/ami_rewards.py``. Here are those that look at text: two similarities, and functions of a user's own.
"""

from fairseq_ami.rewards.own import OwnReward
from fairseq_ami.rewards.sampled import Sampled, TextReader
from fairseq_ami.rewards.similarity import SentenceBleu, SentenceChrf
from fairseq_ami.rewards.spec import NEED_REFERENCES, NETWORK_REWARDS, parse_rewards, text_reward

__all__ = [
    "NEED_REFERENCES",
    "NETWORK_REWARDS",
    "OwnReward",
    "Sampled",
    "SentenceBleu",
    "SentenceChrf",
    "TextReader",
    "parse_rewards",
    "text_reward",
]
