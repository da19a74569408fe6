"""The task of the other network of a pair."""

import pytest
from omegaconf import OmegaConf
from unit.tiny import dictionary

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.tasks.ami_dialog import AMIDialog, AMIDialogConfig
from fairseq_ami.tasks.ami_translation import AMITranslation, AMITranslationConfig

KINDS = {"dataclass": lambda cfg: cfg, "omegaconf": OmegaConf.structured}


@pytest.mark.parametrize("kind", KINDS)
def test_translation(kind):
    """Languages, dictionaries and limits change places; twice is the task itself, which stays as it was."""
    cfg = AMITranslationConfig(source_lang="en", target_lang="de", max_source_positions=30, max_target_positions=40)
    source, target = dictionary(3), dictionary(2)
    task = AMITranslation(KINDS[kind](cfg), source, target)
    other = task.reversed()
    assert type(other) is AMITranslation
    assert (other.cfg.source_lang, other.cfg.target_lang) == ("de", "en")
    assert other.max_positions() == (40, 30)
    assert other.source_dictionary is target and other.target_dictionary is source
    again = other.reversed()
    assert (again.cfg.source_lang, again.cfg.target_lang) == ("en", "de") and again.max_positions() == (30, 40)
    assert (task.cfg.source_lang, task.max_positions()) == ("en", (30, 40))


@pytest.mark.parametrize("pair", [("hist", "reply"), ("context", "last")])
def test_dialogue(pair):
    """The backward network has languages of its own, and reads the reply behind a history within the same limit."""
    words = dictionary(3)
    words.add_symbol(SEPARATOR)
    cfg = AMIDialogConfig(
        source_lang=pair[0], target_lang=pair[1], max_source_positions=30, max_target_positions=40, data="nowhere"
    )
    task = AMIDialog(cfg, words, words)
    other = task.reversed()
    assert type(other) is AMIDialog and {(other.cfg.source_lang, other.cfg.target_lang), pair} == {
        ("hist", "reply"),
        ("context", "last"),
    }
    assert other.max_positions() == (30, 40) and other.separators == task.separators
    assert (other.reversed().cfg.source_lang, other.reversed().cfg.target_lang) == pair
