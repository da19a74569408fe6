"""Batches of whole dialogues, written out by hand and against the pairs that dialog-prepare makes."""

import numpy as np
import pytest
import torch
from fairseq.binarizer import FileBinarizer, VocabularyDatasetBinarizer
from unit.tiny import dictionary

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.data.whole_dialogues import WholeDialogues, load_dialogues
from fairseq_ami.errors import AMIError

PAD, EOS, SEP = 1, 2, 8
A, B, C, D = 4, 5, 6, 7
LINES = [[A, B, SEP, C, SEP, D, D, D, EOS], [A, EOS], [C, SEP, B, B, EOS]]


class Lines(list):
    @property
    def sizes(self):
        return np.array([len(line) for line in self])


@pytest.fixture
def words():
    result = dictionary(4)
    result.add_symbol(SEPARATOR)
    return result


def test_by_hand(words):
    data = WholeDialogues(Lines(map(torch.tensor, LINES)), words, SEP)
    assert len(data) == 2 and data.left_out == 1 and data.sizes.tolist() == [9, 5]
    batch = data.collater([data[0], data[1]])
    inputs = batch["net_input"]
    assert batch["id"].tolist() == [0, 2]
    assert inputs["src_tokens"].tolist() == [[A, B, SEP, C, EOS], [PAD, PAD, PAD, C, EOS]]
    assert inputs["src_lengths"].tolist() == [5, 2]
    assert batch["target"].tolist() == [[C, EOS, PAD, PAD], [D, D, D, EOS], [B, B, EOS, PAD]]
    assert inputs["prev_output_tokens"].tolist() == [[EOS, C, PAD, PAD], [EOS, D, D, D], [EOS, B, B, PAD]]
    assert inputs["owner"].tolist() == [0, 0, 1] and inputs["turn"].tolist() == [1, 2, 1]
    assert batch["ntokens"] == 9 and batch["nsentences"] == 3
    alone = data.collater([data[1]])
    assert alone["reply_id"].tolist() == batch["reply_id"].tolist()[2:] and len(set(batch["reply_id"].tolist())) == 3
    assert alone["target"].tolist() == [[B, B, EOS]]
    assert data.collater([]) == {}


def test_order_depends_on_the_seed_alone(words):
    lines = Lines(torch.tensor([A, SEP, *[B] * (1 + n % 3), EOS]) for n in range(60))
    orders = []
    for seed in (1, 1, 2):
        np.random.seed(len(orders))
        orders.append(WholeDialogues(lines, words, SEP, seed=seed).ordered_indices().tolist())
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == list(range(60))
    assert (np.diff([len(lines[i]) for i in orders[0]]) >= 0).all()


def test_binary_data_beside_their_text(words, tmp_path):
    """The text has whole words where the data have subwords, and would be read as raw data."""
    (tmp_path / "train.dialogue").write_text("w0 <sep> never-seen\n")
    (tmp_path / "text").write_text("w0 w1 <sep> w2\n")
    FileBinarizer.multiprocess_dataset(
        str(tmp_path / "text"), "mmap", VocabularyDatasetBinarizer(words), str(tmp_path / "train.dialogue"), len(words)
    )
    data = load_dialogues(str(tmp_path), "train", words, SEP, 1)
    assert data[0]["dialogue"].tolist() == [A, B, SEP, C, EOS]


def test_no_such_data(words, tmp_path):
    with pytest.raises(AMIError, match="train.dialogue.bin: prepare the data again with fairseq-ami dialog-prepare"):
        load_dialogues(str(tmp_path), "train", words, SEP, 1)
