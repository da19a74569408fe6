"""fairseq's commands that cannot work with a text VAE say which verb does."""

import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.tasks.text_vae import TextVAETask


@pytest.mark.parametrize("method, verb", [("build_generator", "vae-sample"), ("eval_lm_dataloader", "vae-eval")])
def test_refused(method, verb):
    with pytest.raises(AMIError, match=f"use fairseq-ami {verb}"):
        getattr(TextVAETask, method)(None)
