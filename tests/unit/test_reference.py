"""docs/reference.md is what the code says now, and what it says besides fits the code."""

import importlib.util
import re
from pathlib import Path

import pytest

from fairseq_ami.criterions.ami_report import RATIOS
from fairseq_ami.criterions.dialog_gan_report import RATIOS as GAN_RATIOS
from fairseq_ami.criterions.vae_report import RATIOS as VAE_RATIOS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("reference_script", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale(script):
    assert (ROOT / "docs" / "reference.md").read_text() == script.page(), "stale: run `make reference`"


def test_values_of_the_paper_belong_to_options(script):
    named = set(re.findall(r"^\| `(--[\w-]+)", script.page(), re.MULTILINE))
    assert set(script.PAPER) <= named


@pytest.mark.parametrize("ratios, table", [(RATIOS, "LOGGED"), (VAE_RATIOS, "VAE_LOGGED"), (GAN_RATIOS, "GAN_LOGGED")])
def test_every_ratio_in_the_log_is_explained(script, ratios, table):
    explained = {name for key in getattr(script, table) for name in key.split(", ")}
    assert set(ratios) <= explained


def test_a_row_by_hand(script):
    parser = script.argparse.ArgumentParser(add_help=False)
    parser.add_argument("--size", type=int, default=3, help="rows of <x> | more")
    parser.add_argument("--kind", choices=("a", "b"), default="a", help="a kind")
    parser.add_argument("--fast", action="store_true", help=script.argparse.SUPPRESS)
    assert script.table(parser._actions).split("\n") == [
        "| option | default | what it is |",
        "|---|---|---|",
        "| `--size N` | `3` | rows of &lt;x> \\| more |",
        "| `--kind a\\|b` | `a` | a kind |",
    ]
