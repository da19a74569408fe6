"""The rank correlation that examples/multi30k/reward_quality.py reports."""

import importlib.util
from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "multi30k" / "reward_quality.py"
SPEC = importlib.util.spec_from_file_location("reward_quality", SCRIPT)
reward_quality = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reward_quality)


def test_correlation_is_scipys_averaged_over_sources():
    """Also with ties."""
    values = torch.tensor([[3.0, 1.0, 2.0, 2.0], [0.1, 0.4, 0.2, 0.9]])
    quality = torch.tensor([[5.0, 1.0, 4.0, 1.0], [9.0, 3.0, 7.0, 1.0]])
    want = sum(spearmanr(left, right).statistic for left, right in zip(values, quality)) / 2
    assert reward_quality.correlation(values, quality) == pytest.approx(want)


def test_a_source_whose_samples_are_alike_tells_nothing():
    """The other one decides alone."""
    values, quality = torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert reward_quality.correlation(values, quality) == pytest.approx(1.0)
