"""fairseq's commands that cannot work with a task of ours say which command does."""

import pytest
from fairseq.tasks.language_modeling import LanguageModelingTask

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae_lstm import TextVAELSTM
from fairseq_ami.models.text_vae_transformer import TextVAETransformer
from fairseq_ami.tasks.ami_translation import AMITranslation
from fairseq_ami.tasks.text_vae import TextVAETask


@pytest.mark.parametrize("method, verb", [("build_generator", "vae-sample"), ("eval_lm_dataloader", "vae-eval")])
def test_refused(method, verb):
    with pytest.raises(AMIError, match=f"use fairseq-ami {verb}"):
        getattr(TextVAETask, method)(None)


def test_a_pair_is_no_language_model():
    with pytest.raises(AMIError, match="fairseq-validate --task ami_translation"):
        AMITranslation.eval_lm_dataloader(None)


@pytest.mark.parametrize("model", [TextVAELSTM, TextVAETransformer])
def test_a_text_vae_in_fairseqs_command_for_language_models(model):
    """fairseq-eval-lm builds it with the task of stock language models unless another is named."""
    with pytest.raises(AMIError, match="for a text VAE or its language model use fairseq-ami vae-eval"):
        model.build_model(None, LanguageModelingTask.__new__(LanguageModelingTask))
