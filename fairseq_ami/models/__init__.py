from fairseq_ami.models import ami_lstm, ami_transformer, noisy_transformer  # noqa: F401
from fairseq_ami.models.paired import PairedModel

__all__ = ["PairedModel"]
