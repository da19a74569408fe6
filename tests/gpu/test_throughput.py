"""The benchmark runs and reports every system."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from functional.commands import ROOT
from gpu.device import DEVICE, ON_CPU

SMALL = ["--tiny", "--tokens", "100", "--length", "8", "--vocabulary", "100", "--sampler-batches", "4"]
SMALL += ["--updates", "2"]


@pytest.mark.parametrize("network", ["transformer", "lstm"])
def test_every_system_has_figures(network: str, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = [*SMALL, "--network", network, "--device", DEVICE, "--json", file]
    options += ["--precision", "fp32", "--warm-up", "1"] if ON_CPU else ["--warm-up", "20"]
    command = [sys.executable, ROOT / "benchmarks" / "gpu_throughput.py", *options]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    figures = json.loads(file.read_text())
    assert [len(figures[name]) for name in ("an update", "sampling", "an update of a text VAE")] == [7, 2, 4]
    for name in ("an update", "sampling", "an update of a text VAE"):
        for system, values in figures[name].items():
            assert system in result.stdout and values["seconds"] > 0
            assert math.isfinite(values["words_per_second"]) and (ON_CPU or values["peak_gib"] > 0)
