"""Monolingual batches by hand."""

import numpy as np
import pytest
import torch
from fairseq.data import data_utils
from fairseq.data.indexed_dataset import make_builder
from unit.tiny_vae import encode, make_task

from fairseq_ami.data import sentences
from fairseq_ami.data.sentences import SentenceDataset, load_sentences
from fairseq_ami.errors import AMIError

PAD, EOS = 1, 2


@pytest.fixture
def task():
    return make_task()


def dataset(task, *lines):
    return SentenceDataset(encode(task, *lines), task.dictionary, shuffle=False)


def test_ids_are_line_numbers(task):
    """Empty lines are left out; those behind them keep their numbers."""
    data = dataset(task, [0], [], [1, 2, 3], [], [2, 0])
    assert len(data) == 3 and data.left_out == 2
    assert [data[i]["id"] for i in range(3)] == [0, 2, 4]
    assert [data[i]["target"].tolist() for i in range(3)] == [[4, EOS], [5, 6, 7, EOS], [6, 4, EOS]]
    assert data.sizes.tolist() == [2, 4, 3] == [data.num_tokens(i) for i in range(3)]
    assert data.num_tokens_vec(np.array([1, 2])).tolist() == [4, 3] and data.size(2) == 3
    assert data.ordered_indices().tolist() == [0, 2, 1]


def test_collater(task):
    """Padding on the right, the decoder's input behind the end symbol, the end symbol counted."""
    data = dataset(task, [0], [], [1, 2, 3])
    batch = data.collater([data[0], data[1]])
    target = [[4, EOS, PAD, PAD], [5, 6, 7, EOS]]
    assert batch["id"].tolist() == [0, 2] and batch["nsentences"] == 2 and batch["ntokens"] == 6
    assert batch["target"].tolist() == batch["net_input"]["src_tokens"].tolist() == target
    assert batch["net_input"]["prev_output_tokens"].tolist() == [[EOS, 4, PAD, PAD], [EOS, 5, 6, 7]]
    assert batch["net_input"]["src_lengths"].tolist() == [2, 4]
    assert data.collater([]) == {}


def test_order(task):
    """By length; among equals an order that the seed alone decides, the given order without shuffling."""
    lines = [[0], [1, 1]] * 10
    assert dataset(task, *lines).ordered_indices().tolist() == [*range(0, 20, 2), *range(1, 20, 2)]
    orders = []
    for seed, state in ((1, 5), (1, 6), (2, 5)):
        data = SentenceDataset(encode(task, *lines), task.dictionary, True, seed)
        with data_utils.numpy_seed(state):  # fairseq's, which is another after a resume
            orders.append(data.ordered_indices().tolist())
    assert orders[0] == orders[1] != orders[2]
    for order in orders:
        assert sorted(order[:10]) == [*range(0, 20, 2)] and sorted(order[10:]) == [*range(1, 20, 2)]
        assert order[:10] != [*range(0, 20, 2)]


def test_loading(task, tmp_path, monkeypatch, caplog):
    """Nothing there, nothing in it, and a warning that counts the empty lines."""
    with pytest.raises(AMIError, match="no train data at .*fairseq-preprocess --only-source"):
        load_sentences(str(tmp_path / "train"), task.dictionary)
    stored = {}
    monkeypatch.setattr(sentences.data_utils, "load_indexed_dataset", lambda path, _, combine: stored["lines"])
    stored["lines"] = encode(task, [], [], [])
    with pytest.raises(AMIError, match="no sentence: all of its 3 lines are empty"):
        load_sentences("valid", task.dictionary)
    stored["lines"] = encode(task, [], [1], [2])
    assert len(load_sentences("valid", task.dictionary)) == 2
    assert "1 empty lines are left out, 2 sentences stay" in caplog.text


def test_items_are_long_whatever_is_stored(task):
    """Indexed data sets of small vocabularies hold 16-bit numbers."""
    lines = encode(task, [1, 2])
    lines[0] = lines[0].to(torch.int16)
    assert SentenceDataset(lines, task.dictionary, False)[0]["target"].dtype == torch.int64


def test_parts_of_a_data_set(task, tmp_path):
    """valid, valid1, valid2 one after the other when they are combined (--combine-valid-subsets); else the first."""
    for name, lines in (("valid", [[0], []]), ("valid1", [[1, 2]]), ("valid2", [[2]])):
        builder = make_builder(str(tmp_path / f"{name}.bin"), impl="mmap", vocab_size=9)
        for line in encode(task, *lines):
            builder.add_item(line)
        builder.finalize(str(tmp_path / f"{name}.idx"))
    path = str(tmp_path / "valid")
    assert len(load_sentences(path, task.dictionary)) == 1
    both = load_sentences(path, task.dictionary, combine=True)
    assert [both[i]["target"].tolist() for i in range(3)] == [[4, EOS], [5, 6, EOS], [6, EOS]]
    assert [both[i]["id"] for i in range(3)] == [0, 2, 3] and both.left_out == 1
