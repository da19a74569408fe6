"""Entry points of ``torch.hub.load(REPOSITORY, "ami", MODEL, source="local")``, and of ``"text_vae"``."""

dependencies = ["torch", "fairseq", "omegaconf", "sacremoses", "subword_nmt"]

import fairseq_ami.hub as _hub  # noqa: E402


def ami(model, **kwargs):
    """A pair of networks: translate, backtranslate, score, sample.

    Args:
        model: a folder or ``.tar.gz`` of ``fairseq-ami export --pair``, a checkpoint of a training run, or the name of
            a registered network.
        kwargs: as ``fairseq_ami.hub.from_pretrained`` takes them.
    """
    return _hub.from_pretrained(model, **kwargs)


def text_vae(model, **kwargs):
    """A text VAE: interpolate, reconstruct, sample.

    Args:
        model: a folder or ``.tar.gz`` of ``fairseq-ami export``, a checkpoint of a training run, or the name of a
            registered network.
        kwargs: as ``fairseq_ami.hub.text_vae`` takes them.
    """
    return _hub.text_vae(model, **kwargs)
