"""The reversed view of a batch, written out and against fairseq's own collation."""

import pytest
import torch
from fairseq.data import LanguagePairDataset
from unit.tiny import make_task

from fairseq_ami.data import as_source, reverse_sample

PAD, EOS = 1, 2


def test_reversed_batch_written_out():
    """Source becomes right-padded target, target left-padded source; the decoder input starts with the end symbol."""
    sample = {
        "id": torch.tensor([7, 3]),
        "nsentences": 2,
        "ntokens": 5,
        "net_input": {
            "src_tokens": torch.tensor([[4, 5, 6, EOS], [PAD, PAD, 8, EOS]]),
            "src_lengths": torch.tensor([4, 2]),
            "prev_output_tokens": torch.tensor([[EOS, 9, PAD], [EOS, 10, 11]]),
        },
        "target": torch.tensor([[9, EOS, PAD], [10, 11, EOS]]),
    }
    got = reverse_sample(sample, PAD, EOS)
    assert got["id"].tolist() == [7, 3]
    assert got["net_input"]["src_tokens"].tolist() == [[PAD, 9, EOS], [10, 11, EOS]]
    assert got["net_input"]["src_lengths"].tolist() == [2, 3]
    assert got["target"].tolist() == [[4, 5, 6, EOS], [8, EOS, PAD, PAD]]
    assert got["net_input"]["prev_output_tokens"].tolist() == [[EOS, 4, 5, 6], [EOS, 8, PAD, PAD]]
    assert got["ntokens"] == 6 and got["nsentences"] == 2


def random_pairs():
    task = make_task(source_words=9, target_words=7)
    sides = []
    for dictionary in (task.source_dictionary, task.target_dictionary):
        lengths = torch.randint(0, 6, (12,)).tolist()
        sides.append([torch.cat([torch.randint(3, len(dictionary), (n,)), torch.tensor([EOS])]) for n in lengths])
    return task, sides


def collated(source, source_dict, target, target_dict, rows):
    data = LanguagePairDataset(
        source, [len(s) for s in source], source_dict, target, [len(t) for t in target], target_dict, shuffle=False
    )
    return data.collater([data[row] for row in rows])


@pytest.mark.parametrize("rows", [range(12), [5], [3, 8], [11, 0, 4]])
def test_equals_collating_the_swapped_pairs(rows):
    """fairseq's dataset of the other direction gives the same rows (in an order of its own: matched by id)."""
    task, (source, target) = random_pairs()
    batch = collated(source, task.source_dictionary, target, task.target_dictionary, rows)
    want = collated(target, task.target_dictionary, source, task.source_dictionary, rows)
    got = reverse_sample(batch, PAD, EOS)
    assert got["ntokens"] == want["ntokens"]
    place = [want["id"].tolist().index(name) for name in got["id"].tolist()]
    for key in ("src_tokens", "src_lengths", "prev_output_tokens"):
        assert torch.equal(got["net_input"][key], want["net_input"][key][place])
    assert torch.equal(got["target"], want["target"][place])


def test_reversing_twice_gives_the_batch_back():
    """Nothing is lost."""
    task, (source, target) = random_pairs()
    batch = collated(source, task.source_dictionary, target, task.target_dictionary, range(12))
    twice = reverse_sample(reverse_sample(batch, PAD, EOS), PAD, EOS)
    for key in ("src_tokens", "src_lengths", "prev_output_tokens"):
        assert torch.equal(twice["net_input"][key], batch["net_input"][key])
    assert torch.equal(twice["target"], batch["target"]) and twice["ntokens"] == batch["ntokens"]


def test_rows_stay_where_they_are():
    """Rewards are matched by row: no re-sorting by the other side's length."""
    task, (source, target) = random_pairs()
    batch = collated(source, task.source_dictionary, target, task.target_dictionary, range(12))
    assert torch.equal(reverse_sample(batch, PAD, EOS)["id"], batch["id"])


def test_samples_as_source():
    """Padding moves to the left, an empty sample keeps its end symbol."""
    tokens, lengths = as_source(torch.tensor([[5, 4, EOS], [EOS, PAD, PAD], [6, EOS, PAD]]), PAD)
    assert tokens.tolist() == [[5, 4, EOS], [PAD, PAD, EOS], [PAD, 6, EOS]]
    assert lengths.tolist() == [3, 1, 2]


def test_the_batch_itself_is_left_alone():
    """The forward network still reads it."""
    task, (source, target) = random_pairs()
    batch = collated(source, task.source_dictionary, target, task.target_dictionary, range(12))
    before = batch["net_input"]["src_tokens"].clone(), batch["target"].clone()
    reverse_sample(batch, PAD, EOS)
    assert torch.equal(batch["net_input"]["src_tokens"], before[0]) and torch.equal(batch["target"], before[1])
