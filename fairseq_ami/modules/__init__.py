from fairseq_ami.modules.critics import BilinearCritic, ConcatCritic, SeparableCritic, build_critic
from fairseq_ami.modules.dropout import dropout_off
from fairseq_ami.modules.gaussian import DiagonalGaussian
from fairseq_ami.modules.infomax import InfoMaxHeads
from fairseq_ami.modules.latent_noise import LatentNoise, root_mean_square
from fairseq_ami.modules.replaced import weights_replaced
from fairseq_ami.modules.wrapped import unwrapped

__all__ = [
    "BilinearCritic",
    "ConcatCritic",
    "DiagonalGaussian",
    "InfoMaxHeads",
    "LatentNoise",
    "SeparableCritic",
    "build_critic",
    "dropout_off",
    "root_mean_square",
    "weights_replaced",
    "unwrapped",
]
