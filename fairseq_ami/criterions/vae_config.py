"""Settings of ``vae_mine_elbo``: every row of VAE-MINE's Table 2 is a choice of them."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from fairseq_ami.criterions.kl_config import AnnealedKL
from fairseq_ami.objectives.mutual_information import NEGATIVES

MI_ESTIMATORS = ("tangent", "dv", "nwj", "infonce", "js")  # those of the register that keep nothing between updates
XI_MODES = ("ema", "optimal", "fixed", "paper")


@dataclass
class VAEMineConfig(AnnealedKL):
    kl_anneal_epochs: float = field(
        default=0.0, metadata={"help": "length of --kl-anneal in epochs, instead of --kl-anneal-updates"}
    )
    free_bits: float = field(
        default=0.0,
        metadata={"help": "nats per latent dimension that cost nothing, on the batch's mean (Kingma et al. 2016)"},
    )
    mi_weight: float = field(
        default=0.0, metadata={"help": "alpha: weight of the mutual-information bound (VAE-MINE; needs --critic)"}
    )
    mi_estimator: ChoiceEnum(MI_ESTIMATORS) = field(
        default="tangent",
        metadata={
            "help": "what --mi-weight raises: the bound of equation 12, or another objective (js is no bound in nats)"
        },
    )
    xi: ChoiceEnum(XI_MODES) = field(
        default="ema",
        metadata={
            "help": "slope of the bound's tangent: ema, 1 / running mean of E[e^f] over earlier updates; optimal, "
            "1 / E[e^f] of the batch itself (biased); fixed, --xi-value; paper, E[e^f] as printed, which is no maximum"
        },
    )
    xi_value: float = field(default=1.0, metadata={"help": "slope of the tangent with --xi fixed"})
    xi_decay: float = field(default=0.9, metadata={"help": "weight of the past in the running mean of --xi ema"})
    negatives: ChoiceEnum(NEGATIVES) = field(
        default="all",
        metadata={"help": "independent pairs of the bound: all that are not true pairs, or one per sentence"},
    )
    bow_weight: float = field(
        default=0.0, metadata={"help": "weight of the bag-of-words loss (Zhao et al. 2017; needs --bow-hidden)"}
    )
    mmd_weight: float = field(
        default=0.0, metadata={"help": "weight of the squared MMD between q(z) and p(z) (InfoVAE, Zhao et al. 2019)"}
    )
    lagging: bool = field(
        default=False, metadata={"help": "train the encoder alone in inner loops at first (LaggingVAE, He et al. 2019)"}
    )
    lagging_limit: int = field(default=99, metadata={"help": "most encoder updates in an inner loop of --lagging"})
    lagging_window: int = field(
        default=15, metadata={"help": "encoder updates between two looks at the loss in an inner loop of --lagging"}
    )
    lagging_interval: int = field(
        default=0,
        metadata={
            "help": "decoder updates between two looks at the mutual information, whose fall ends --lagging; "
            "0: as many as an epoch has batches (He et al. 2019), 1: every validation counts"
        },
    )
    mi_batch: int = field(default=32, metadata={"help": "sentences over which validation measures mutual information"})
    seed: int = II("common.seed")
