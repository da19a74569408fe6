from fairseq_ami.modules.dropout import dropout_off
from fairseq_ami.modules.latent_noise import LatentNoise, root_mean_square

__all__ = ["LatentNoise", "dropout_off", "root_mean_square"]
