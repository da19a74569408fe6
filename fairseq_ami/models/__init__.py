from fairseq_ami.models import (  # noqa: F401
    ami_lstm,
    ami_transformer,
    hred,
    noisy_transformer,
    text_vae_lstm,
    text_vae_transformer,
)
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.models.text_vae import TextVAE

__all__ = ["PairedModel", "TextVAE"]
