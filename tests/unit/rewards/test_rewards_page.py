"""docs/rewards.md: its functions work as they stand there, and its names and options exist."""

import re
from argparse import ArgumentParser
from pathlib import Path

import pytest
from fairseq import options
from fairseq.dataclass.utils import gen_parser_from_dataclass

from fairseq_ami.cli import build_parser
from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.models.pair_settings import add_pair_args
from fairseq_ami.optim.ami_phased import AMIPhasedConfig
from fairseq_ami.rewards import OwnReward, Sampled, parse_rewards
from fairseq_ami.tasks.ami_translation import AMITranslationConfig
from fairseq_ami.tools.ceiling.expressions import MORE

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "rewards.md").read_text()
BASH = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\n  --", " --")


def test_functions_of_ones_own(tmp_path, monkeypatch):
    """The module of the page, called as training calls it; values by hand."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_rewards.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    outputs = ["a a b", "", "zwei 2 hunde", "12 3"]
    sampled = Sampled(["x", "x", "2 dogs", "3 12 !"], outputs, None, [[4]] * 4, [[4]] * 4, None, 1)
    assert OwnReward("my_rewards:fresh_words")(sampled) == pytest.approx([2 / 3, 0, 1, 1])
    assert OwnReward("my_rewards:same_numbers")(sampled) == [1, 1, 1, 1]


def test_every_reward_of_the_page_is_known():
    """Those of the commands, and those of the table."""
    for words in re.findall(r"--reward (.+?)(?: -|\n)", BASH):
        for text in words.split():
            assert parse_rewards(text, also=MORE)
    table = PAGE[PAGE.index("| name | reward of a sample |") : PAGE.index("adds two rewards")]
    for name in re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE):
        assert parse_rewards(name) == {name: 1.0}


def test_every_option_of_the_page_exists():
    """In the text and in the commands."""
    parser = ArgumentParser(add_help=False, conflict_handler="resolve")
    for config in (AMITranslationConfig, AMIMinimaxConfig, AMIPhasedConfig):
        gen_parser_from_dataclass(parser, config())
    add_pair_args(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    ours = [build_parser(verb)._subparsers._group_actions[0].choices[verb] for verb in ("reward-ceiling", "export")]
    stock = (options.get_training_parser(), options.get_generation_parser(), options.get_preprocessing_parser())
    known |= {option for parser in (*stock, *ours) for action in parser._actions for option in action.option_strings}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", PAGE))
    assert len(named) > 30 and named <= known, named - known
