"""The backward network's task: the languages, dictionaries and limits of what it reads and writes."""

import pytest
from unit.tiny import dictionary

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.tasks.ami_dialog import AMIDialog, AMIDialogConfig
from fairseq_ami.tasks.ami_translation import AMITranslation, AMITranslationConfig
from fairseq_ami.tools.reranking.networks import reversed_task


@pytest.mark.parametrize("kind", ["translation", "dialogue"])
def test_reversed_task(kind):
    """A translation reads what the other direction writes; both networks of a dialogue read histories."""
    words = dictionary(3)
    words.add_symbol(SEPARATOR)
    limits = {"max_source_positions": 8, "max_target_positions": 30}
    if kind == "translation":
        cfg = AMITranslationConfig(source_lang="en", target_lang="de", **limits)
        task = reversed_task(AMITranslation(cfg, words, dictionary(2)))
        assert (task.cfg.source_lang, task.cfg.target_lang) == ("de", "en") and len(task.source_dictionary) == 6
        assert task.max_positions() == (30, 8)
    else:
        task = reversed_task(
            AMIDialog(AMIDialogConfig(source_lang="hist", target_lang="reply", **limits), words, words)
        )
        assert (task.cfg.source_lang, task.cfg.target_lang) == ("context", "last")
        assert task.max_positions() == (8, 30)
