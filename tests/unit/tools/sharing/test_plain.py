"""Weights in half precision: what they become, what they share, what does not fit."""

import pytest
import torch

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing.plain import in_half_precision


def test_each_number_is_the_nearest_of_float16():
    """Between 1 and 2 the numbers of float16 are 2^-10 apart; whole numbers stay as they are."""
    weights = {"a": torch.tensor([1 + 0.4 * 2**-10, 1 + 0.6 * 2**-10]), "ids": torch.tensor([70000])}
    half = in_half_precision(weights)
    assert half["a"].dtype == torch.float16 and half["a"].tolist() == [1.0, 1 + 2**-10]
    assert half["ids"].dtype == torch.int64 and half["ids"].item() == 70000


def test_bfloat16_is_rougher_and_wider():
    """Between 1 and 2 its numbers are 2^-7 apart, and 65600 is next to 65536."""
    half = in_half_precision({"a": torch.tensor([1 + 0.6 * 2**-7, 65600.0])}, "bfloat16")
    assert half["a"].dtype == torch.bfloat16 and half["a"].tolist() == [1 + 2**-7, 65536.0]


def test_shared_tensors_are_stored_once(tmp_path):
    """As torch.save sees it: the file holds the table once, a view of other shape by itself."""
    table = torch.randn(200, 100)
    half = in_half_precision({"encoder": table, "decoder": table, "first": table[:2]})
    assert half["encoder"].data_ptr() == half["decoder"].data_ptr()
    assert half["first"].shape == (2, 100)
    torch.save(half, tmp_path / "half.pt")
    assert (tmp_path / "half.pt").stat().st_size < 1.2 * 2 * table.numel()


def test_what_float16_cannot_hold_is_refused():
    with pytest.raises(AMIError, match="big holds a weight above 65504"):
        in_half_precision({"big": torch.tensor([1.0, 65600.0])})
    assert in_half_precision({"mask": torch.tensor([float("-inf")])})["mask"].item() == float("-inf")
