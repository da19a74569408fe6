"""Sentences without references beside pairs: which of them come, when, and what a batch of them holds."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from fairseq.data import LanguagePairDataset, indexed_dataset
from fairseq.data.language_pair_dataset import collate
from unit.data.test_dialogue import EOS as DIALOGUE_EOS
from unit.data.test_dialogue import PAIRS, SEP, A, B, C, D, F, make_dataset
from unit.data.test_dialogue import dictionary as dialogue_words
from unit.tiny import dictionary

from fairseq_ami.data import SeededOrder, WithUnlabelled, load_unlabelled
from fairseq_ami.data.dialogue import DialogueDataset
from fairseq_ami.errors import AMIError

WORDS = dictionary(9)
EOS = WORDS.eos()


def sentences(lengths, target=False):
    """Sentence i has as many symbols as *lengths* says, the end symbol counted, and is recognised by them."""
    rows = [torch.tensor([4 + (i + place) % 9 for place in range(size - 1)] + [EOS]) for i, size in enumerate(lengths)]
    sides = (rows, lengths, WORDS) if target else ()
    return LanguagePairDataset(rows, lengths, WORDS, *sides, shuffle=False)


def lengths(count, seed):
    return np.random.default_rng(seed).integers(2, 9, count).tolist()


def mixed(pairs=10, pool=7, ratio=1.0, seed=3, **settings):
    return WithUnlabelled(sentences(lengths(pairs, 1), True), sentences(lengths(pool, 2)), ratio, seed, **settings)


def drawn(data):
    """The sentences of an epoch, over all pairs."""
    return [number for pair in range(len(data)) for number in data.partners(pair)]


# ------------------------------------------------------------------ which sentences come


@pytest.mark.parametrize("pairs, pool, ratio", [(10, 7, 1.0), (10, 37, 0.9), (6, 4, 3.5), (8, 50, 0.25), (5, 5, 0.01)])
def test_all_come_before_any_comes_again(pairs, pool, ratio):
    """Over as many epochs as it takes, within an epoch and across its end."""
    data, counts, per_epoch = mixed(pairs, pool, ratio), Counter(), max(1, round(ratio * pairs))
    total = 0
    for epoch in range(1, 9):
        data.set_epoch(epoch)
        found = drawn(data)
        assert len(found) == per_epoch
        counts.update(found)
        total += per_epoch
        fewest, most = (pick(counts[number] for number in range(pool)) for pick in (min, max))
        assert (fewest, most) == (total // pool, -(-total // pool))


def test_an_epoch_depends_on_seed_and_number_alone():
    one, other = mixed(40, 90, 0.7), mixed(40, 90, 0.7, epoch=5)
    for epoch in (2, 3, 5):
        one.set_epoch(epoch)
    other.set_epoch(5)
    assert drawn(one) == drawn(other)
    other.set_epoch(6)
    assert sorted(drawn(other)) != sorted(drawn(one))
    assert sorted(drawn(mixed(40, 90, 0.7, seed=4, epoch=5))) != sorted(drawn(one))


def test_lengths_are_matched():
    """The shortest pairs bring the shortest sentences: padding and memory stay what they were."""
    data = mixed(100, 100, 1.0)
    pair = np.array([data.dataset.src_sizes[i] for i in range(100)])
    partner = np.array([data.unlabelled.src_sizes[data.partners(i)[0]] for i in range(100)])
    assert np.corrcoef(pair, partner)[0, 1] > 0.95
    assert np.array_equal(np.sort(partner), np.sort(data.unlabelled.src_sizes))  # each once: the pool's own lengths


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_each_pair_brings_its_share(ratio):
    counts = [len(mixed(60, 100, ratio).partners(i)) for i in range(60)]
    assert sum(counts) == round(60 * ratio) and set(counts) <= {int(ratio), int(np.ceil(ratio))}


def test_too_long_ones_are_left_out(caplog):
    data = mixed(30, 40, 3.0, longest=5)
    sizes = np.asarray(data.unlabelled.src_sizes)
    assert set(drawn(data)) == set(np.flatnonzero(sizes <= 5).tolist())
    out = int((sizes > 5).sum())
    assert f"{out} of 40 sentences without references are longer than 5 symbols" in caplog.text
    with pytest.raises(AMIError, match="every sentence is longer than 1 symbols"):
        mixed(longest=1)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_ratios_that_cannot_be(ratio):
    with pytest.raises(AMIError, match="--unlabelled-ratio must be a positive number"):
        mixed(ratio=ratio)


# ------------------------------------------------------------------ batches


def test_a_batch_is_that_of_its_pairs_and_that_of_its_sentences():
    """fairseq's own collation of either; ids follow those of the pairs."""
    data = mixed(10, 7, 1.5)
    batch = data.collater([data[i] for i in (3, 8)])
    numbers = [*data.partners(3), *data.partners(8)]
    assert len(numbers) in (2, 3, 4)
    expected = {
        "pairs": collate([data.dataset[i] for i in (3, 8)], WORDS.pad(), EOS),
        "unlabelled": collate([{**data.unlabelled[n], "id": 10 + n} for n in numbers], WORDS.pad(), EOS),
    }
    for name, found in (("pairs", batch), ("unlabelled", batch["unlabelled"])):
        for key in ("src_tokens", "src_lengths"):
            assert torch.equal(found["net_input"][key], expected[name]["net_input"][key])
        assert torch.equal(found["id"], expected[name]["id"]) and found["nsentences"] == len(found["id"])
    assert torch.equal(batch["target"], expected["pairs"]["target"])
    assert batch["unlabelled"]["target"] is None and "spare" not in batch["unlabelled"]
    assert sorted(batch["unlabelled"]["id"].tolist()) == sorted(10 + n for n in numbers)


def test_batches_of_any_size_bring_the_same():
    """A pair brings its sentences whoever stands beside it; a batch without any gets a spare, marked one."""
    data = mixed(24, 60, 0.3)
    together = []
    for size in (1, 5, 24):
        found = []
        for start in range(0, 24, size):
            batch = data.collater([data[i] for i in range(start, min(start + size, 24))])["unlabelled"]
            assert len(batch["id"]) > 0
            found += [] if batch.get("spare") else batch["id"].tolist()
        together.append(sorted(found))
    assert together[0] == together[1] == together[2] == sorted(24 + n for n in drawn(data))
    assert any(data.collater([data[i]])["unlabelled"].get("spare") for i in range(24))


def test_no_batch_of_nothing():
    assert mixed().collater([]) == {}


def test_batches_of_dialogue():
    """Histories are cut and turned as those of pairs: the context before the place of the reply, which is empty."""
    rows = [torch.tensor([A, B, SEP, C, D, DIALOGUE_EOS]), torch.tensor([F, DIALOGUE_EOS])]
    alone = LanguagePairDataset(rows, [6, 2], dialogue_words(), shuffle=False)
    data = WithUnlabelled(make_dataset(), DialogueDataset(alone, SEP, 20, (20, 20)), 0.5, 1)
    batch = data.collater([data[i] for i in range(len(PAIRS))])
    assert batch["reverse"]["target"].size(0) == len(PAIRS)
    other = batch["unlabelled"]
    assert other["id"].tolist() == [len(PAIRS), len(PAIRS) + 1] and other["target"] is None
    assert other["reverse"]["context"].tolist() == [[A, B, SEP], [1, 1, 1]]
    assert other["reverse"]["net_input"]["src_tokens"].tolist() == [[A, B, SEP, DIALOGUE_EOS], [1, 1, 1, DIALOGUE_EOS]]
    assert other["reverse"]["target"].tolist() == [[C, D, DIALOGUE_EOS], [F, DIALOGUE_EOS, 1]]


# ------------------------------------------------------------------ processes


def test_processes_that_load_data_follow_the_epoch():
    """fairseq keeps its loading processes over epochs, with the data set as it was, unless a data set objects."""
    data = SeededOrder(mixed(12, 40, 1.0), 1)
    assert not data.can_reuse_epoch_itr_across_epochs
    copy = pickle.loads(pickle.dumps(data))
    for epoch in (1, 2):
        data.set_epoch(epoch)
        copy.set_epoch(epoch)
        assert drawn(copy) == drawn(data)
    assert torch.equal(copy[3]["source"], data[3]["source"])
    loader = torch.utils.data.DataLoader(data, batch_size=4, collate_fn=data.collater, num_workers=2)
    ids = [batch["unlabelled"]["id"].tolist() for batch in loader]
    here = [data.collater([data[i] for i in range(start, start + 4)]) for start in (0, 4, 8)]
    assert ids == [batch["unlabelled"]["id"].tolist() for batch in here]


# ------------------------------------------------------------------ files


def write(path, rows, impl="mmap"):
    builder = indexed_dataset.make_builder(f"{path}.bin", impl, len(WORDS))
    for row in rows:
        builder.add_item(torch.tensor(row))
    builder.finalize(f"{path}.idx")


@pytest.mark.parametrize("name", ["more.en-de.en", "more.en-None.en"])
@pytest.mark.parametrize("impl", ["mmap", "cached"])
def test_files_of_either_name_and_format(name, impl, tmp_path):
    """With and without a target language; the format of older versions is read as well."""
    write(tmp_path / name, [[5, 6, EOS], [7, EOS]], impl)
    for prefix in ("more", str(tmp_path / "more")):
        data = load_unlabelled(str(tmp_path), prefix, "en", "de", WORDS)
        assert [row["source"].tolist() for row in (data[0], data[1])] == [[5, 6, EOS], [7, EOS]]
        assert data[0]["target"] is None and list(data.src_sizes) == [3, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # fairseq's, of a file it did not open
def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(AMIError, match="there is no .*more.en-de.en.bin; write it with fairseq-preprocess"):
        load_unlabelled(str(tmp_path), "more", "en", "de", WORDS)
    write(tmp_path / "more.en-de.en", [])
    with pytest.raises(AMIError, match="more.en-de.en.bin holds no sentence"):
        load_unlabelled(str(tmp_path), "more", "en", "de", WORDS)
    write(tmp_path / "more.en-de.en", [[5, EOS]])
    (tmp_path / "more.en-de.en.idx").write_bytes(b"MMIDIDX\x00\x00")
    with pytest.raises(AMIError, match="more.en-de.en.bin or its .idx is damaged"):
        load_unlabelled(str(tmp_path), "more", "en", "de", WORDS)
    write(tmp_path / "more.en-de.de", [[5, EOS]])
    with pytest.raises(AMIError, match="it has references as well"):
        load_unlabelled(str(tmp_path), "more", "en", "de", WORDS)
