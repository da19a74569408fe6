from fairseq_ami.models import (  # noqa: F401
    ami_hred,
    ami_lstm,
    ami_transformer,
    dialog_discriminator,
    dialog_gan,
    hred,
    latent_dialogue,
    noisy_transformer,
    text_vae_lstm,
    text_vae_transformer,
    vhcr,
)
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.models.text_vae import TextVAE

__all__ = ["PairedModel", "TextVAE"]
