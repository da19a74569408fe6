"""The same batches in every epoch and after every resume."""

from typing import Any

import numpy as np
from fairseq.data import BaseWrapperDataset, FairseqDataset, data_utils


class SeededOrder(BaseWrapperDataset):
    """A data set whose order, and with it the batches that are made of it, depends on *seed* alone.

    fairseq draws the order of sentences of equal length with the number of the epoch in which the process started.
    So a run that is resumed in a later epoch would train on other batches. (The order of the batches changes with each
    epoch all the same.)

    Everything else is the data set's own: fairseq-generate --replace-unk reads the sentences in ``src`` and ``tgt``.
    """

    def __init__(self, dataset: FairseqDataset, seed: int):
        super().__init__(dataset)
        self.seed = seed

    def __getattr__(self, name: str) -> Any:
        # a worker process that unpickles the data set asks for its methods before it has a `dataset`
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.dataset, name)

    def ordered_indices(self) -> np.ndarray:
        with data_utils.numpy_seed(self.seed):
            return self.dataset.ordered_indices()
