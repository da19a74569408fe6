"""The same batches in every epoch and after every resume."""

import numpy as np
from fairseq.data import BaseWrapperDataset, FairseqDataset, data_utils


class SeededOrder(BaseWrapperDataset):
    """A data set whose order, and with it the batches that are made of it, depends on *seed* alone.

    fairseq draws the order of sentences of equal length with the number of the epoch in which the process started:
    a run that is resumed in a later epoch would train on other batches. (The order of the batches changes with each
    epoch all the same.)
    """

    def __init__(self, dataset: FairseqDataset, seed: int):
        super().__init__(dataset)
        self.seed = seed

    def ordered_indices(self) -> np.ndarray:
        with data_utils.numpy_seed(self.seed):
            return self.dataset.ordered_indices()
