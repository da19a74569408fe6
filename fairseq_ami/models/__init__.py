from fairseq_ami.models import ami_lstm, ami_transformer, noisy_transformer, text_vae_lstm, text_vae_transformer  # noqa: F401
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.models.text_vae import TextVAE

__all__ = ["PairedModel", "TextVAE"]
