"""The other direction of the interface from Python."""

from omegaconf import OmegaConf
from unit.tiny import dictionary

from fairseq_ami.tasks.ami_translation import AMITranslation, AMITranslationConfig
from fairseq_ami.tools.sharing.hub_interface import _swapped_task


def test_limits_of_the_other_direction():
    """A translation's are exchanged; both networks of a dialogue read histories."""
    cfg = AMITranslationConfig(source_lang="en", target_lang="de", max_source_positions=8, max_target_positions=30)
    task = AMITranslation(OmegaConf.structured(cfg), dictionary(2), dictionary(3))
    for mirrored, limits in ((True, (30, 8)), (False, (8, 30))):
        swapped = _swapped_task(task, mirrored)
        assert swapped.max_positions() == limits and swapped.cfg.source_lang == "de"
        assert len(swapped.source_dictionary) == 7 and task.max_positions() == (8, 30)
