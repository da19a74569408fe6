"""What ``--help`` says of each option: there is a text, it stands alone, and code and text agree on the default."""

import argparse
import re
from dataclasses import MISSING
from typing import Dict, Iterator, Tuple

import pytest
from fairseq.dataclass.utils import gen_parser_from_dataclass
from unit.prose import LONGEST, idioms, sentences

from fairseq_ami.cli import VERBS, build_parser
from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.dialog_config import DialogELBOConfig
from fairseq_ami.criterions.vae_config import VAEMineConfig
from fairseq_ami.models.hred_config import HREDConfig
from fairseq_ami.models.latent_dialogue import VHREDConfig
from fairseq_ami.models.pair_settings import add_pair_args
from fairseq_ami.models.text_vae_lstm import TextVAELSTMConfig
from fairseq_ami.models.text_vae_transformer import TextVAETransformerConfig
from fairseq_ami.models.vhcr import VHCRConfig
from fairseq_ami.optim.phased_config import AMIPhasedConfig
from fairseq_ami.tasks.ami_dialog import AMIDialogConfig
from fairseq_ami.tasks.ami_translation import AMITranslationConfig
from fairseq_ami.tasks.hierarchical_dialog import HierarchicalDialogConfig
from fairseq_ami.tasks.text_vae import TextVAEConfig

CONFIGS = (
    AMIMinimaxConfig, VAEMineConfig, AMIPhasedConfig, TextVAELSTMConfig, TextVAETransformerConfig, AMIDialogConfig,
    AMITranslationConfig, TextVAEConfig, DialogELBOConfig, HREDConfig, VHREDConfig, VHCRConfig,
    HierarchicalDialogConfig,
)  # fmt: skip
# a text that begins like this is about the option before it, or about none
LEANING = re.compile(r"(of|its|their|the same|see|how many of them|and|put to|between|to|at|such|none|here|it)\b", re.I)


def options(parser: argparse.ArgumentParser) -> Iterator[Tuple[str, argparse.Action]]:
    """Name and action of each option, those of the actions of a verb included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from options(inner)
        elif not isinstance(action, (argparse._HelpAction, argparse._VersionAction)):
            yield (action.option_strings or [action.dest])[-1], action


def parser_of(config: type) -> argparse.ArgumentParser:
    """Our own options of a configuration: fairseq's, which it inherits, have fairseq's texts."""
    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, config())
    theirs = {name for base in config.__mro__ if base.__module__.startswith("fairseq.")
              for name in getattr(base, "__dataclass_fields__", {})}  # fmt: skip
    parser._actions = [action for action in parser._actions if action.dest not in theirs]
    return parser


def pair_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_pair_args(parser)
    return parser


def parsers() -> Dict[str, argparse.ArgumentParser]:
    found = {config.__name__: parser_of(config) for config in CONFIGS}
    found["the pair's"] = pair_parser()
    verbs = {verb: build_parser(verb)._subparsers._group_actions[0].choices[verb] for verb in VERBS}
    return {**found, **verbs}


PARSERS = parsers()


@pytest.mark.parametrize("name", PARSERS)
def test_texts_stand_alone(name: str) -> None:
    """Of two neighbours none is needed to understand the other, and no two say the same."""
    seen: Dict[str, str] = {}
    for option, action in options(PARSERS[name]):
        text = action.help
        assert text, f"{option} has no text"
        if text == argparse.SUPPRESS:
            continue
        assert not LEANING.match(text), (option, text)
        assert not idioms(text), (option, idioms(text))
        for sentence in sentences(text):
            assert len(sentence.split()) <= LONGEST, (option, sentence)
        assert text[0] not in "(" and not text.startswith("default"), (option, text)
        assert seen.setdefault(text, option) == option or name in ("plot", "rerank"), (option, seen[text], text)


@pytest.mark.parametrize("name", PARSERS)
def test_defaults_that_texts_name(name: str) -> None:
    """``(default: 5)`` is the parser's default, wherever a number stands there."""
    for option, action in options(PARSERS[name]):
        found = re.search(r"\(default: (-?[\d.]+)\)", action.help or "")
        if found and action.default not in (None, MISSING):
            assert float(found.group(1)) == float(action.default), (option, action.help, action.default)


def test_the_weights_of_the_games() -> None:
    """The text of --real-weight and --adversarial-weight names the defaults of the table of games."""
    from fairseq_ami.criterions.ami_games import GAMES

    for name, attribute in (("real_weight", "real_weight"), ("adversarial_weight", "fake_weight")):
        text = AMIMinimaxConfig.__dataclass_fields__[name].metadata["help"]
        usual, mmi = (getattr(GAMES[game], attribute) for game in ("ami", "mmi"))
        assert f"(default: {usual:g}, with mmi {mmi:g})" in text
