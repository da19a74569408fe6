"""The order of a data set by its seed, and everything else as the data set itself has it."""

import pickle

import pytest
import torch
from fairseq.data import LanguagePairDataset
from torch.utils.data import DataLoader
from unit.tiny import dictionary

from fairseq_ami.data import SeededOrder

EOS = 2


def make_data():
    words = dictionary(5)
    sentences = [torch.tensor([4 + i, EOS]) for i in range(5)]
    return LanguagePairDataset(sentences, [2] * 5, words, sentences, [2] * 5, words)


def test_the_order_is_that_of_the_seed():
    data = make_data()
    orders = [SeededOrder(data, seed).ordered_indices().tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == list(range(5))


def test_attributes_of_the_data_set():
    """fairseq-generate --replace-unk asks for ``src`` and ``tgt``."""
    data = make_data()
    ordered = SeededOrder(data, 1)
    assert ordered.src is data.src and ordered.tgt_dict is data.tgt_dict and ordered.seed == 1
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = ordered.no_such_thing


def test_it_goes_to_worker_processes():
    """Pickled as a worker process gets it, which asks for attributes before there are any; and through a real one."""
    ordered = SeededOrder(make_data(), 1)
    again = pickle.loads(pickle.dumps(ordered))
    assert again.ordered_indices().tolist() == ordered.ordered_indices().tolist() and len(again.src) == 5
    loader = DataLoader(ordered, batch_size=5, collate_fn=ordered.collater, num_workers=1)
    (batch,) = list(loader)
    assert sorted(batch["id"].tolist()) == list(range(5))
