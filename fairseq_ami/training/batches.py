"""The batches of training, shared out to workers: some run short, and a restart may have more or fewer of them."""

import logging
from typing import Any, Callable, Dict, List, Mapping

import torch
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import FairseqTask

logger = logging.getLogger(__name__)

FILLER = "filler"  # key of a batch that only keeps a worker in step with the others


class Fill:
    """Collates sentences; where a worker has none left, there is a marked batch for it.

    fairseq hands the trainer an empty batch instead. With --update-freq above 1 the trainer then leaves the worker's
    last batches out of the denominator and out of the logs, though their gradients stay in the step.

    Args:
        collate: the data set's collater.
        filler: any batch of the data set.
    """

    def __init__(self, collate: Callable[[List[Any]], Dict[str, Any]], filler: Dict[str, Any]):
        self.collate, self.filler = collate, filler

    def __call__(self, items: List[Any]) -> Dict[str, Any]:
        return self.collate(items) if len(items) > 0 else {**self.filler, FILLER: True}


def is_filler(batch: Mapping[str, Any]) -> bool:
    """Whether *batch* only keeps the worker in step: no gradient, size 0, nothing to log."""
    return FILLER in batch


def nothing(log: Dict[str, Any]) -> Dict[str, Any]:
    """Zeros under the keys of *log*, of the same types: workers add up only what all of them have."""
    return {key: torch.zeros_like(value) if torch.is_tensor(value) else type(value)() for key, value in log.items()}


def no_gradient(model: torch.nn.Module) -> torch.Tensor:
    """A loss, shape (), whose gradient is 0.

    It has to go through the optimizer's ``backward`` on a worker without data. In half precision fairseq copies
    gradients to the float32 weights only behind one, and the worker's weights would stay where they are.

    Args:
        model: of which some parameters require gradients.
    """
    parameter = next(p for p in model.parameters() if p.requires_grad)
    return 0 * parameter.view(-1)[0]


class TrainingBatches(EpochBatchIterator):
    """fairseq's iterator of training batches, exact for any number of workers.

    Short workers get marked batches (:class:`Fill`). The saved position is that of all workers together: fairseq
    takes a worker's own, and would skip or repeat batches when a run goes on with another number of workers.

    Args:
        batches: fairseq's iterator, not yet used.
    """

    collate_fn: Any

    def __init__(self, batches: EpochBatchIterator):
        self.__dict__.update(vars(batches))
        if self.num_shards > 1:
            self.collate_fn = Fill(self.collate_fn, self.first_batch)

    def state_dict(self) -> Dict[str, Any]:
        """fairseq's state, and the number of workers that it counts for."""
        return {**super().state_dict(), "shards": self.num_shards}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Go on behind the batches that were seen, whoever saw them.

        Args:
            state_dict: of this class, or of fairseq's, whose number of workers is taken to be this run's.
        """
        shards = state_dict.get("shards", self.num_shards)
        seen = shards * state_dict.get("iterations_in_epoch", 0)
        position, rest = divmod(seen, self.num_shards)
        if rest:
            logger.warning(
                "%d batches of this epoch were seen, which is no multiple of %d workers: the last %d come again",
                seen, self.num_shards, rest,
            )  # fmt: skip
        super().load_state_dict({**state_dict, "iterations_in_epoch": position})


def training_batches(
    task: FairseqTask, dataset: FairseqDataset, batches: EpochBatchIterator, asked: Dict[str, Any]
) -> EpochBatchIterator:
    """*batches* as they are, or those of training as :class:`TrainingBatches`.

    Args:
        task: whose ``get_batch_iterator`` is called.
        dataset: that it is called for.
        batches: what fairseq makes of it.
        asked: the keywords of the call, by which fairseq's trainer tells training from validation.
    """
    if "update_epoch_batch_itr" not in asked or isinstance(batches, TrainingBatches):
        return batches
    wrapped = TrainingBatches(batches)
    if dataset in task.dataset_to_epoch_iter:  # one iterator for all epochs
        task.dataset_to_epoch_iter[dataset] = wrapped
    return wrapped
