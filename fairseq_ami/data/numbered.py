"""Sentences of fairseq-interactive, whose numbers are kept for the latent noise."""

from collections import deque
from typing import Any, Deque, Dict, List

from fairseq.data import BaseWrapperDataset, FairseqDataset
from torch import Tensor


class NumberedSentences(BaseWrapperDataset):
    """A data set that remembers which sentences are in the batches that it has made.

    fairseq-interactive passes on the words of a batch, but not its ``id``, on which the noise of a sentence depends.
    The numbers run on over its buffers: those of a file are the ones that fairseq-generate gives to its lines.

    Args:
        dataset: the sentences of a buffer.
        first: number of the first of them.
    """

    def __init__(self, dataset: FairseqDataset, first: int):
        super().__init__(dataset)
        self.first = first
        self._made: Deque[Tensor] = deque()

    def collater(self, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
        """The batch of the data set, whose numbers are noted."""
        batch = super().collater(samples)
        if batch:
            self._made.append(batch["id"] + self.first)
        return batch

    def next_numbers(self) -> Tensor:
        """Numbers of the oldest batch that was not asked for yet, shape (batch,)."""
        return self._made.popleft()
