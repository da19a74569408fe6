"""Text VAEs, batches and criterions small enough to be checked by hand, in float64."""

from types import SimpleNamespace

import numpy as np
import torch
from unit.tiny import dictionary

from fairseq_ami.criterions.vae_config import VAEMineConfig
from fairseq_ami.criterions.vae_mine_elbo import VAEMineELBO
from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.models.text_vae_lstm import TextVAELSTM, TextVAELSTMConfig
from fairseq_ami.models.text_vae_transformer import TextVAETransformer, TextVAETransformerConfig

KINDS = ("lstm", "transformer")
LSTM_SIZES = {"embed_dim": 5, "hidden_size": 6, "num_layers": 1, "dropout": 0.0, "max_target_positions": 30}
TRANSFORMER_SIZES = {"embed_dim": 6, "ffn_dim": 8, "num_layers": 2, "attention_heads": 2, "dropout": 0.0}


def make_task(words=4):
    return SimpleNamespace(dictionary=dictionary(words))


def make_vae(kind="lstm", task=None, latent_dim=3, spread=3.0, seed=1, **settings):
    """An untrained model, in training mode, whose distributions are far from uniform and depend on z."""
    torch.manual_seed(seed)
    task = task or make_task()
    given = {"latent_dim": latent_dim, "critic_hidden": 7, **settings}
    if kind == "lstm":
        model = TextVAELSTM.build_model(TextVAELSTMConfig(**{**LSTM_SIZES, **given}), task)
    else:
        cfg = TextVAETransformerConfig(**{**TRANSFORMER_SIZES, "max_target_positions": 30, **given})
        model = TextVAETransformer.build_model(cfg, task)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and not name.startswith("critic"):
                parameter.mul_(spread)
    return model.double().train()


class Lines(list):
    """What fairseq's indexed data sets look like."""

    @property
    def sizes(self):
        return np.array([len(line) for line in self])


def encode(task, *sentences):
    """Word w0 written as 0, the end symbol behind the last."""
    return Lines(torch.tensor([4 + word for word in words] + [task.dictionary.eos()]) for words in sentences)


def make_batch(task, sentences, ids=None):
    data = SentenceDataset(encode(task, *sentences), task.dictionary, shuffle=False)
    batch = data.collater([data[index] for index in range(len(data))])
    if ids is not None:
        batch["id"] = torch.tensor(ids)
    return batch


def make_criterion(task, **settings):
    return VAEMineELBO(VAEMineConfig(**{"seed": 3, **settings}), task)
