"""The documents name things that exist."""

import importlib
import re
from pathlib import Path

import pytest

from fairseq_ami.criterions import ami_minimax

ROOT = Path(__file__).resolve().parents[2]
PAGES = [str(path.relative_to(ROOT)) for top in ("*.md", "docs/*.md", "examples/**/*.md") for path in ROOT.glob(top)]
MAP = (ROOT / "docs" / "paper_map.md").read_text()
NAMES = sorted(set(re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_]+)`", MAP)) - {"fairseq_ami"})
TRAPS = (ROOT / "docs" / "traps.md").read_text()
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


def test_options_of_the_readme():
    """Every option in the README's tables exists, and every option of the criterion stands there."""
    from argparse import ArgumentParser

    from fairseq.dataclass.utils import gen_parser_from_dataclass

    from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
    from fairseq_ami.models.pair_settings import add_pair_args
    from fairseq_ami.optim.ami_phased import AMIPhasedConfig
    from fairseq_ami.tasks.ami_translation import AMITranslationConfig

    parser = ArgumentParser(add_help=False)
    for config in (AMITranslationConfig, AMIMinimaxConfig, AMIPhasedConfig):
        gen_parser_from_dataclass(parser, config())
    add_pair_args(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    readme = (ROOT / "README.md").read_text()
    tables = readme[readme.index("## Options") : readme.index("## What is logged")]
    named = set(re.findall(r"--[a-z][a-z0-9-]+", "\n".join(line for line in tables.splitlines() if line[:1] == "|")))
    assert named - {"--arch"} <= known
    ours = {f"--{field.replace('_', '-')}" for field in AMIMinimaxConfig.__dataclass_fields__} - {"---name", "--seed"}
    assert ours <= named


def test_options_of_the_text_vae_page():
    """Every option in the tables of docs/text_vae.md exists, and all of the criterion's and models' stand there."""
    from argparse import ArgumentParser

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
