"""Settings of ``dialog_elbo``."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from fairseq_ami.criterions.kl_config import AnnealedKL

KL_WEIGHT_MODES = ("elbo", "inverse-reconstruction")


@dataclass
class DialogELBOConfig(AnnealedKL):
    kl_weight_mode: ChoiceEnum(KL_WEIGHT_MODES) = field(
        default="elbo",
        metadata={
            "help": "how the KL terms are weighted: elbo, by --kl-weight and --kl-anneal; inverse-reconstruction, by 1 "
            "over the batch's summed negative log-likelihood, as the released code of Dir-VHRED does (no bound)"
        },
    )
    kl_weight_detach: bool = field(
        default=False,
        metadata={"help": "no gradient through the weight of --kl-weight-mode inverse-reconstruction"},
    )
    bow_weight: float = field(
        default=0.0, metadata={"help": "weight of the bag-of-words loss (Zhao et al. 2017; needs --bow-hidden)"}
    )
    iw_samples: int = field(
        default=0,
        metadata={
            "help": "samples of z for the importance-weighted NLL that validation logs as iw_nll (Burda et al. 2016); "
            "0: none"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")
    seed: int = II("common.seed")
