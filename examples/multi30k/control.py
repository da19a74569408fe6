"""A reward that says nothing about quality: the control of what sampling and a policy gradient do by themselves.

A constant reward would be no control here: under a baseline it is exactly nothing.
This one is arbitrary, and always the
same for the same source and output, so that a policy could learn it.
"""

import zlib
from typing import List

from fairseq_ami.rewards import Sampled


def arbitrary(sampled: Sampled) -> List[float]:
    """A number between 0 and 1 for each sample, by a hash of source and output."""
    texts = (f"{source}\t{output}" for source, output in zip(sampled.sources, sampled.outputs))
    return [zlib.crc32(text.encode()) / 2**32 for text in texts]
