"""The documents name things that exist."""

import importlib
import re
from argparse import ArgumentParser
from pathlib import Path

import pytest

from fairseq_ami.criterions import ami_minimax

ROOT = Path(__file__).resolve().parents[2]
PAGES = [str(path.relative_to(ROOT)) for top in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in ROOT.glob(top)]
MAP = (ROOT / "docs" / "paper_map.md").read_text()
NAMES = sorted(set(re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_]+)`", MAP)) - {"fairseq_ami"})
TRAPS = (ROOT / "docs" / "traps.md").read_text()
PAGES_OF_OPTIONS = ("reference", "options")
TESTS = sorted(set(re.findall(r"`((?:unit|functional|learning|gpu)/[\w/]+\.py)[`:]", MAP + TRAPS)))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".py")])
def test_function_of_the_paper_map(name):
    """Every dotted name is a function, class or module of the package."""
    parts = name.split(".")
    if parts[0] in ("AMIMinimax", "AMIPhased", "PairedModel"):
        pytest.skip("looked up below")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module("fairseq_ami." + ".".join(parts[:cut]))
        except ImportError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute)
        return
    raise AssertionError(f"there is no fairseq_ami.{name}")


@pytest.mark.parametrize("method", sorted(set(re.findall(r"`(?:AMIMinimax\.)?(_\w+_(?:phase|term))`", MAP))))
def test_method_of_the_paper_map(method):
    """Every phase and term is a method of the criterion."""
    assert callable(getattr(ami_minimax.AMIMinimax, method))


@pytest.mark.parametrize("path", TESTS)
def test_file_of_tests(path):
    """Every file of tests that a document names is there."""
    assert (ROOT / "tests" / path).is_file()


@pytest.mark.parametrize("path, function", sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TRAPS))))
def test_test_of_the_traps(path, function):
    """Every test that holds off a trap is there."""
    assert re.search(rf"^def {function}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)


def test_every_trap_is_numbered_once():
    """From 1 on, without a gap."""
    rows = re.findall(r"^\| (\d+) \|", TRAPS, re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, len(rows) + 1)) and len(rows) >= 50


# options of pip, hydra, TensorBoard, sacreBLEU, and of fairseq's script that prepares WMT; beginnings of names
OTHERS = {
    "--upgrade", "--build-constraint", "--no-deps", "--no-index", "--extra-index-url", "--only-binary", "--platform",
    "--python-version", "--target", "--logdir", "--config-dir", "--config-name", "--paired-ar", "--icml17", "--help",
    "--no-", "--sample-", "--version",
}  # fmt: skip


@pytest.mark.parametrize("path", [path for path in PAGES if path != "CHANGELOG.md"])
def test_options_in_running_text(path):
    """Every option that a page names is one of ours, of fairseq's, or of the tools that a command line starts."""
    from fairseq.dataclass.utils import gen_parser_from_dataclass
    from fairseq.optim.adam import FairseqAdamConfig
    from fairseq.options import get_preprocessing_parser

    adam = ArgumentParser(add_help=False)
    gen_parser_from_dataclass(adam, FairseqAdamConfig())
    parsers = (get_preprocessing_parser(), adam)
    known = {name for parser in parsers for action in parser._actions for name in action.option_strings}
    listed = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in PAGES_OF_OPTIONS)
    measured = "".join(script.read_text() for script in (ROOT / "benchmarks").glob("*.py"))
    known |= {*re.findall(r"`(--[\w-]+)", listed), *re.findall(r'"(--[\w-]+)"', measured)}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", (ROOT / path).read_text()))
    assert named - known - OTHERS == set()


def test_options_of_the_text_vae_page():
    """Every option in the tables of docs/text_vae.md exists, and all of the criterion's and models' stand there."""
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    from fairseq_ami.criterions.vae_config import VAEMineConfig
    from fairseq_ami.models.text_vae_lstm import TextVAELSTMConfig
    from fairseq_ami.models.text_vae_transformer import TextVAETransformerConfig
    from fairseq_ami.optim.ami_phased import AMIPhasedConfig

    known = set()
    for config in (VAEMineConfig, TextVAELSTMConfig, TextVAETransformerConfig, AMIPhasedConfig):
        parser = ArgumentParser(add_help=False)
        gen_parser_from_dataclass(parser, config())
        known |= {option for action in parser._actions for option in action.option_strings}
    page = (ROOT / "docs" / "text_vae.md").read_text()
    tables = page[page.index("## Options") : page.index("## What is logged")]
    named = set(re.findall(r"--[a-z][a-z0-9-]+", "\n".join(line for line in tables.splitlines() if line[:1] == "|")))
    assert named <= known
    fields = [*VAEMineConfig.__dataclass_fields__, *TextVAELSTMConfig.__dataclass_fields__]
    fields += TextVAETransformerConfig.__dataclass_fields__
    assert {f"--{field.replace('_', '-')}" for field in fields} - {"---name", "--seed"} <= named


@pytest.mark.parametrize("path", PAGES)
def test_rows_of_tables(path):
    """As many cells as the header: otherwise no table is shown."""
    lines = (ROOT / path).read_text().split("\n")
    width = None
    for number, line in enumerate(lines, 1):
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert bars is None or width in (None, bars), f"{path}, line {number}"
        width = bars
