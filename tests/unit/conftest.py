"""Fixtures of the unit tests; builders with arguments are in tiny.py."""

import pytest
import torch
from unit.tiny import make_pair, make_task


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test starts from the same state of torch's generator."""
    torch.manual_seed(0)


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def pair(task):
    return make_pair(task)
