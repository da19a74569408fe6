"""Batches shared out to workers against one worker's."""

import logging
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest
import torch
from fairseq.data.iterators import EpochBatchIterator
from torch.utils.data import Dataset

from fairseq_ami.training.batches import TrainingBatches, is_filler, nothing, training_batches


class Numbers(Dataset):
    """Sentence i is the number i."""

    def __getitem__(self, index: int) -> int:
        return index


def collate(items: List[int]) -> Dict[str, Any]:
    return {"id": items} if items else {}


def iterator(batches: int, shards: int = 1, shard: int = 0, **kwargs: Any) -> EpochBatchIterator:
    sampler = [[2 * i, 2 * i + 1] for i in range(batches)]
    return EpochBatchIterator(Numbers(), collate, sampler, num_shards=shards, shard_id=shard, **kwargs)


def one_epoch(iterators: List[EpochBatchIterator]) -> List[List[Dict[str, Any]]]:
    """What every worker reads until the end of the epoch."""
    return [list(each.next_epoch_itr()) for each in iterators]


def in_turn(workers: List[List[Dict[str, Any]]]) -> List[List[int]]:
    """The real batches in the order in which workers take them from one list."""
    return [batch["id"] for together in zip(*workers) for batch in together if not is_filler(batch)]


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
@pytest.mark.parametrize("batches", [1, 2, 4, 6, 7])
def test_workers_share_one_workers_batches(batches: int, shards: int) -> None:
    alone = [batch["id"] for batch in one_epoch([iterator(batches)])[0]]
    workers = one_epoch([TrainingBatches(iterator(batches, shards, shard)) for shard in range(shards)])
    assert len({len(worker) for worker in workers}) == 1 and in_turn(workers) == alone
    fillers = [batch for worker in workers for batch in worker if is_filler(batch)]
    assert len(fillers) == -batches % shards and all(batch["id"] for batch in fillers)


def test_one_worker_has_fairseqs_own_collater() -> None:
    assert TrainingBatches(iterator(3)).collate_fn is collate


@pytest.mark.parametrize("before", [1, 2, 3, 4])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize("read", [1, 2])
def test_another_number_of_workers_goes_on_where_they_stopped(
    read: int, before: int, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    """No batch is skipped; those that do not divide come again, and a warning says how many."""
    batches = 12
    alone = [batch["id"] for batch in one_epoch([iterator(batches)])[0]]
    first = TrainingBatches(iterator(batches, before))
    reading = first.next_epoch_itr()
    for _ in range(read):
        next(reading)
    workers = [TrainingBatches(iterator(batches, after, shard)) for shard in range(after)]
    with caplog.at_level(logging.WARNING):
        for worker in workers:
            worker.load_state_dict(first.state_dict())
    again = read * before % after
    assert in_turn(one_epoch(workers)) == alone[read * before - again :]
    assert (f"the last {again} come again" in caplog.text) == (again > 0)


def test_a_state_of_fairseqs_own() -> None:
    reading = (stock := iterator(6, 2)).next_epoch_itr()
    next(reading)
    workers = [TrainingBatches(iterator(6, 2, shard)) for shard in range(2)]
    for worker in workers:
        worker.load_state_dict(stock.state_dict())
    assert in_turn(one_epoch(workers)) == [batch["id"] for batch in one_epoch([iterator(6)])[0]][2:]


def test_a_state_at_the_end_of_an_epoch() -> None:
    first = TrainingBatches(iterator(4, 2))
    list(first.next_epoch_itr())
    worker = TrainingBatches(iterator(4, 3))
    worker.load_state_dict(first.state_dict())
    assert worker.next_epoch_idx == 2 and worker.iterations_in_epoch == 0


def test_only_the_batches_of_training_and_one_iterator_for_all_epochs() -> None:
    dataset, stock = object(), iterator(3, 2)
    task = SimpleNamespace(dataset_to_epoch_iter={dataset: stock})
    assert training_batches(task, dataset, stock, {"epoch": 1}) is stock
    wrapped = training_batches(task, dataset, stock, {"update_epoch_batch_itr": False})
    assert task.dataset_to_epoch_iter[dataset] is wrapped
    assert training_batches(task, dataset, wrapped, {"update_epoch_batch_itr": False}) is wrapped


def test_nothing_has_the_same_keys_and_types() -> None:
    log = {"loss": torch.tensor(float("nan")), "sum": torch.ones(2, dtype=torch.float64), "ntokens": 5, "mean": 0.5}
    zeros = nothing(log)
    assert {key: type(value) for key, value in zeros.items()} == {key: type(value) for key, value in log.items()}
    assert zeros["loss"] == 0 and zeros["sum"].tolist() == [0, 0] and zeros["sum"].dtype == torch.float64
    assert zeros["ntokens"] == zeros["mean"] == 0
