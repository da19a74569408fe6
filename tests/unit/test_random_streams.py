"""The random numbers: reference values with Python's integers, distribution, and what they may depend on."""

import math

import pytest
import torch
from scipy import stats

from fairseq_ami.random_streams import derived_keys, normal, stream_keys, text_ids, uniform

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(x):
    """SplitMix64's finaliser on Python integers."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def key(seed, update, stream, sentence, sample):
    value = 0
    for part in (seed, update, stream, sentence):
        value = mix(value + GOLDEN * (part + 1))
    return mix(value + GOLDEN * (sample + 1))


def unsigned(tensor):
    return [value % 2**64 for value in tensor.tolist()]


def test_reference_values_of_splitmix64():
    """The generator's published first outputs for seed 1234567: the constants were typed in correctly."""
    outputs = [mix(1234567 + GOLDEN * count) for count in range(1, 4)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    got = uniform(torch.tensor([1234567]), 3)[0].tolist()
    assert got == [((value >> 41) + 0.5) * 2.0**-23 for value in outputs]


@pytest.mark.parametrize("seed, update, stream", [(1, 0, 0), (42, 100000, 1), (0, -1, 0), (2**31 - 1, 7, 2)])
def test_keys_are_those_of_big_integers(seed, update, stream):
    """64-bit wrap-around and logical shifts, checked with integers that do not overflow."""
    ids = torch.tensor([0, 5, 2**40])
    want = [key(seed, update, stream, sentence, sample) for sentence in ids.tolist() for sample in range(3)]
    assert unsigned(stream_keys(seed, update, stream, ids, 3)) == want


def test_uniform_is_the_top_bits_of_the_hash():
    """Bit for bit, inside the open interval at both ends of the range."""
    keys = stream_keys(7, 3, 0, torch.arange(4), 2)
    numbers = uniform(keys, 5)
    for row, value in enumerate(unsigned(keys)):
        for count in range(5):
            bits = mix(value + GOLDEN * (count + 1)) >> 41
            assert numbers[row, count].item() == (bits + 0.5) * 2.0**-23
    lowest, highest = 0.5 * 2.0**-23, (2**23 - 0.5) * 2.0**-23
    assert 0 < torch.tensor(lowest).item() and torch.tensor(highest).item() < 1


def test_uniform_distribution():
    """Kolmogorov-Smirnov, moments, and no correlation between neighbouring positions, samples, ids and updates."""
    numbers = uniform(stream_keys(1, 0, 0, torch.arange(500), 4), 50)
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 0.001
    assert numbers.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / numbers.numel()))
    later = uniform(stream_keys(1, 1, 0, torch.arange(500), 4), 50)
    grid = numbers.view(500, 4, 50)
    neighbours = [(grid[:, :, 1:], grid[:, :, :-1]), (grid[:, 1:], grid[:, :-1]), (grid[1:], grid[:-1])]
    for a, b in [*neighbours, (numbers, later)]:
        assert abs(stats.pearsonr(a.flatten().numpy(), b.flatten().numpy()).statistic) < 4 / math.sqrt(a.numel())


@pytest.mark.parametrize("channels", [1, 2, 5, 8])
def test_normal_distribution(channels):
    """Kolmogorov-Smirnov and moments, with an odd number of channels as well."""
    numbers = normal(stream_keys(1, 0, 1, torch.arange(2000), 2), 3, channels)
    assert numbers.shape == (4000, 3, channels)
    assert stats.kstest(numbers.flatten().numpy(), "norm").pvalue > 0.001
    count = numbers.numel()
    assert numbers.mean().item() == pytest.approx(0.0, abs=4 / math.sqrt(count))
    assert numbers.var().item() == pytest.approx(1.0, abs=4 * math.sqrt(2 / count))
    if channels > 1:
        correlation = torch.corrcoef(numbers.reshape(-1, channels).t()) - torch.eye(channels)
        assert correlation.abs().max() < 5 / math.sqrt(count / channels)


def test_longer_requests_begin_with_the_shorter_ones():
    """The numbers of a position do not depend on how many positions are asked for."""
    keys = stream_keys(1, 0, 0, torch.arange(6), 2)
    assert torch.equal(uniform(keys, 9)[:, :4], uniform(keys, 4))
    assert torch.equal(normal(keys, 9, 5)[:, :4], normal(keys, 4, 5))


def test_more_samples_begin_with_the_fewer_ones():
    """The first samples of a sentence stay when more are drawn."""
    ids = torch.arange(6)
    assert torch.equal(stream_keys(1, 0, 0, ids, 5).view(6, 5)[:, :2], stream_keys(1, 0, 0, ids, 2).view(6, 2))


def test_order_and_split_of_the_batch_do_not_matter():
    """A sentence has its key whatever stands beside it."""
    ids = torch.tensor([3, 9, 4, 7, 1])
    keys = stream_keys(1, 2, 0, ids, 2).view(5, 2)
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(stream_keys(1, 2, 0, ids[order], 2).view(5, 2), keys[order])
    split = torch.cat([stream_keys(1, 2, 0, part, 2) for part in ids.split(2)])
    assert torch.equal(split, keys.flatten())


def test_seed_update_stream_and_id_are_not_interchangeable():
    """Different places of the same numbers give different keys: no two of all these keys agree."""
    keys = [
        stream_keys(seed, update, stream, torch.arange(10), 3)
        for seed in range(4) for update in range(-1, 6) for stream in range(3)
    ]  # fmt: skip
    keys = torch.cat(keys)
    assert len(keys.unique()) == len(keys)


def test_numbers_of_texts():
    """They depend on words and order, not on padding or on the batch."""
    rows = torch.tensor([[1, 1, 5, 6, 2], [5, 6, 2, 1, 1], [1, 1, 6, 5, 2], [1, 5, 6, 6, 2], [1, 1, 1, 5, 2]])
    found = text_ids(rows, rows.ne(1)).tolist()
    assert found[0] == found[1] and len(set(found)) == 4
    assert text_ids(rows[3:4, 1:], rows[3:4, 1:].ne(1)).tolist() == found[3:4]
    many = torch.cartesian_prod(*[torch.arange(8)] * 5)  # every text of five words
    assert len(set(text_ids(many, many.ge(0)).tolist())) == 8**5


def test_derived_keys_draw_other_numbers():
    """Than the key itself, and than each other."""
    keys = stream_keys(1, 2, 3, torch.arange(50), 1)
    derived = derived_keys(keys, 3)
    assert torch.equal(derived[:, :2], derived_keys(keys, 2))
    numbers = torch.cat([uniform(keys, 4), *(uniform(derived[:, i], 4) for i in range(3))]).flatten()
    assert len(numbers.unique()) > 0.999 * len(numbers)
