"""Shared by all tests: one thread a process, since the models are tiny and several processes share the cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
