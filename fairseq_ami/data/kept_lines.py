"""Some lines of an indexed data set, in an order that depends on a seed alone."""

from typing import Iterable

import numpy as np
from fairseq.data import FairseqDataset

from fairseq_ami.types import IndexedSentences


class KeptLines(FairseqDataset):
    """The kept lines of *indexed*; an id is the number of a line (from 0), whatever was left out before it.

    Args:
        indexed: fairseq's indexed data set.
        kept: which lines stay, shape (lines,), bool.
        shuffle: lines of one length in random order (fairseq shuffles the batches itself).
        seed: of that order. Not numpy's state: fairseq seeds it with the epoch in which the process started, and a
            resumed run would have other batches.
    """

    def __init__(self, indexed: IndexedSentences, kept: np.ndarray, shuffle: bool, seed: int):
        self.indexed, self.shuffle, self.seed = indexed, shuffle, seed
        self.lines = np.flatnonzero(kept)
        self.lengths = np.asarray(indexed.sizes)[self.lines]
        self.left_out = len(kept) - len(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def sizes(self) -> np.ndarray:
        """Symbols of each line, end symbol included."""
        return self.lengths

    def num_tokens(self, index: int) -> int:
        return int(self.lengths[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.lengths[indices]

    def size(self, index: int) -> int:
        return int(self.lengths[index])

    def ordered_indices(self) -> np.ndarray:
        """By length; lines of one length in random order when shuffling."""
        order = np.arange(len(self))
        if self.shuffle:
            np.random.default_rng(self.seed).shuffle(order)
        return order[np.argsort(self.lengths[order], kind="mergesort")]

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.indexed, "supports_prefetch", False)

    def prefetch(self, indices: Iterable[int]) -> None:
        self.indexed.prefetch([int(self.lines[index]) for index in indices])
