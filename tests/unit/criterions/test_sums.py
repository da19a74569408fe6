"""Adding up what workers logged."""

import pytest
import torch

from fairseq_ami.criterions.sums import total_sums


def test_numbers_and_tensors_of_all_types_are_added():
    """By hand; the second log lacks a key, and a vector is no figure."""
    logs = [
        {"a": 1, "b": torch.tensor(2.5), "c": torch.tensor(3), "v": torch.ones(2)},
        {"a": 4.5, "b": torch.tensor(0.25), "d": torch.tensor(0.1, dtype=torch.float64)},
    ]
    assert total_sums(logs) == {"a": 5.5, "b": 2.75, "c": 3.0, "d": 0.1}
    assert total_sums([]) == {}


def test_large_counts_lose_nothing():
    """2^53 - 1 is the largest whole number that float64 surely holds; float32 would end at 2^24."""
    assert total_sums([{"n": torch.tensor(2**53 - 2)}, {"n": 1}])["n"] == 2**53 - 1


def test_a_number_and_a_tensor_of_one_key():
    assert total_sums([{"a": 1}, {"a": torch.tensor(2.0)}])["a"] == pytest.approx(3.0)
