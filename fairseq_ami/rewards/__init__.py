"""Rewards of sampled text, by name: two similarities to a reference, and functions of a user's own.

A library so far: no option of training uses it yet.
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
