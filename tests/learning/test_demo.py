"""The demo reaches what it is there to show, on a seed that nobody tuned it for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "examples" / "toy"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder of a whole run with seed 2, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, TOY / "run_demo.py", "--work", folder, "--seed", "2"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder, result.stdout


def shares(folder):
    """Informative, generic and wrong outputs of each system, judged by the grammar."""
    sys.path.insert(0, str(TOY))
    try:
        from analysis import shares as judged
        from report import decoded
    finally:
        sys.path.remove(str(TOY))
    systems = {}
    for name in ("mle", "mmi", "ami"):
        sources, _, outputs = decoded(folder / name)
        assert len(sources) == len(outputs) == 512
        systems[name] = judged(sources, outputs)
    return systems


def test_information_grows(demo):
    """MMI and AMI keep much more of the source's content than maximum likelihood, and stay grammatical."""
    found = shares(demo[0])
    for name in ("mmi", "ami"):
        assert found[name]["informative"] > found["mle"]["informative"] + 0.15
        assert found[name]["wrong"] < 0.06


def test_bounds_and_critics(demo):
    """Bounds rise by more than half a nat a sentence; AMI's backward network stays the best on real pairs."""
    bounds = json.loads((demo[0] / "bound.json").read_text())
    for name in ("mmi", "ami"):
        assert bounds[name]["bound_common"] > bounds["mle"]["bound_common"] + 0.5
    assert bounds["ami"]["nll_real"] < bounds["mmi"]["nll_real"]
    assert bounds["ami"]["gap_frozen"] > 0


def test_table_samples_and_figure(demo):
    """What the user sees at the end is there."""
    folder, text = demo
    assert all(
        word in text for word in ("maximum likelihood", "MMI", "AMI", "VIM bound", "sacreBLEU nrefs:1", "source ")
    )
    assert (folder / "bound.png").read_bytes().startswith(b"\x89PNG")
