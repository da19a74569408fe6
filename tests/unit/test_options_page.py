"""docs/options.md names every option of fairseq's commands once, with a verdict and with tests that exist."""

import argparse
import re
from pathlib import Path
from typing import Dict, Set, Tuple

import pytest
from fairseq import options
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models.lstm import LSTMModel
from fairseq.models.transformer.transformer_legacy import TransformerModel
from fairseq.optim.bmuf import FairseqBMUF
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, LR_SCHEDULER_REGISTRY
from fairseq.tasks.translation import TranslationConfig
from functional.test_stock_options import NO_EFFECT

from fairseq_ami.models.refused import HARMFUL, IDLE
from fairseq_ami.training.refused import OWN_RATES, REFUSED

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "options.md").read_text()
ROWS = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
VERDICTS: Dict[str, Tuple[str, str]] = {name: (verdict, why) for name, verdict, why in ROWS}
DEFAULT_FILE = "functional/test_stock_options.py"
WORDS = {"works", "refused", "no effect", "not tried"}


def fairseqs_options() -> Dict[str, Set[str]]:
    """First name -> all names, of every option that a user of our tasks can pass to a command of fairseq."""
    own = argparse.ArgumentParser(add_help=False)
    TransformerModel.add_args(own)
    parsers = [
        options.get_training_parser("translation"),
        options.get_generation_parser(),
        options.get_interactive_generation_parser(),
        options.get_validation_parser(),
        options.get_eval_lm_parser(),
        own,
    ]
    for add in (LSTMModel.add_args, FairseqBMUF.add_args, *_schedulers(), _translation):
        parsers.append(argparse.ArgumentParser(add_help=False))
        add(parsers[-1])
    actions = [action for parser in parsers for action in parser._actions]
    found: Dict[str, Set[str]] = {}
    for action in actions:
        if not isinstance(action, argparse._HelpAction):
            names = action.option_strings or [action.dest]
            found.setdefault(names[0], set()).update(names)
    return found


def _schedulers():
    for name, scheduler in LR_SCHEDULER_REGISTRY.items():
        if name in LR_SCHEDULER_DATACLASS_REGISTRY:
            config = LR_SCHEDULER_DATACLASS_REGISTRY[name]
            yield lambda parser, config=config: gen_parser_from_dataclass(parser, config())
        else:
            yield scheduler.add_args


def _translation(parser):
    gen_parser_from_dataclass(parser, TranslationConfig())


def test_every_option_stands_there_once():
    names = [name for name, _, _ in ROWS]
    assert len(names) == len(set(names)) > 300
    known = fairseqs_options()
    assert set(known) - set(names) == set(), "options without a row"
    assert set(names) - set(known) == set(), "rows without an option"


def test_verdicts():
    for name, (verdict, why) in VERDICTS.items():
        parts = re.fullmatch(r"([a-z ]+?)(?: \(text VAE: ([a-z ]+)\))?", verdict)
        assert parts and {part for part in parts.groups() if part} <= WORDS, name
        assert why.strip(), name


@pytest.mark.parametrize("path, function", sorted(set(re.findall(r"`([\w/]*(?:\.py)?)::(\w+)`", PAGE))))
def test_tests_exist(path, function):
    text = (TESTS / (path or DEFAULT_FILE)).read_text()
    assert re.search(rf"^def {function}\(", text, re.MULTILINE)


def test_options_said_to_change_nothing_are_tried():
    """Each row that names the test is in its command line, under one of its names, and the other way round."""
    claimed = {name for name, (_, why) in VERDICTS.items() if "test_options_without_effect" in why}
    known = fairseqs_options()
    tried = {name for name, names in known.items() if names & set(NO_EFFECT)}
    assert claimed - tried == set()
    silent = {name for name in tried - claimed if VERDICTS[name][0] == "no effect"}
    assert silent == set()


def test_rules_are_on_the_page():
    """What the tables of refused settings name has the verdict of a refusal, or says under which condition."""
    places = {place.split(".")[-1] for place in (*REFUSED, *OWN_RATES) if "." in place and "_name" not in place}
    for name in {*places, *HARMFUL, *IDLE} - {"ddp_backend"}:
        assert VERDICTS["--" + name.replace("_", "-")][0].startswith("refused"), name
