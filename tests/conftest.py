"""Shared by all tests."""

import logging
import os
from typing import Iterator

import pytest

# one thread a process, since the models are tiny and several processes share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A verb sets logging up for its own process, which here is that of the tests."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
