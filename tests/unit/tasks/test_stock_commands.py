"""fairseq's commands that cannot work with a task of ours say which command does."""

import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.tasks.ami_translation import AMITranslation
from fairseq_ami.tasks.text_vae import TextVAETask


@pytest.mark.parametrize("method, verb", [("build_generator", "vae-sample"), ("eval_lm_dataloader", "vae-eval")])
def test_refused(method, verb):
    with pytest.raises(AMIError, match=f"use fairseq-ami {verb}"):
        getattr(TextVAETask, method)(None)


def test_a_pair_is_no_language_model():
    with pytest.raises(AMIError, match="fairseq-validate --task ami_translation"):
        AMITranslation.eval_lm_dataloader(None)
