"""Settings of ``vae_mine_elbo``: every row of VAE-MINE's Table 2 is a choice of them."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum
from omegaconf import II

from fairseq_ami.criterions.kl_config import AnnealedKL
from fairseq_ami.errors import AMIError
from fairseq_ami.objectives.divergences import FREE_BITS_PER
from fairseq_ami.objectives.importance import GRADIENTS
from fairseq_ami.objectives.mutual_information import NEGATIVES

MI_ESTIMATORS = ("tangent", "dv", "nwj", "infonce", "js")  # those of the register that keep nothing between updates
XI_MODES = ("ema", "optimal", "fixed", "paper")
MEASURES = ("bound", "information", "valid-bound", "valid-information")


@dataclass
class VAEMineConfig(AnnealedKL):
    kl_anneal_epochs: float = field(
        default=0.0, metadata={"help": "length of --kl-anneal in epochs, instead of --kl-anneal-updates"}
    )
    free_bits: float = field(
        default=0.0,
        metadata={"help": "nats per latent dimension that cost nothing (Kingma et al. 2016)"},
    )
    free_bits_per: ChoiceEnum(FREE_BITS_PER) = field(
        default="batch",
        metadata={
            "help": "what --free-bits is compared with: the batch's mean of a dimension, or each sentence's own KL in "
            "it (Li et al. 2019)"
        },
    )
    iw_train: int = field(
        default=1,
        metadata={
            "help": "samples of z per sentence for the importance-weighted bound that takes the ELBO's place in "
            "training (Burda et al. 2016); 1: the ELBO"
        },
    )
    iw_gradient: ChoiceEnum(GRADIENTS) = field(
        default="dreg",
        metadata={
            "help": "the encoder's gradient with --iw-train: dreg, with less noise (Tucker et al. 2019), or iwae, the "
            "bound's own"
        },
    )
    iw_after_updates: int = field(
        default=0, metadata={"help": "updates of the decoder by the ELBO before --iw-train sets in"}
    )
    iw_after_epochs: float = field(
        default=0.0,
        metadata={"help": "epochs by the ELBO before --iw-train sets in, instead of --iw-after-updates"},
    )
    mi_weight: float = field(
        default=0.0, metadata={"help": "alpha: weight of the mutual-information bound (VAE-MINE; needs --critic)"}
    )
    mi_target: Optional[float] = field(
        default=None,
        metadata={
            "help": "nats of mutual information to keep: the weight starts at --mi-weight, rises while there are fewer "
            "and falls while there are more (Lagrange multiplier, Pelsmaeker and Aziz 2020; needs --critic)"
        },
    )
    mi_target_of: ChoiceEnum(MEASURES) = field(
        default="bound",
        metadata={
            "help": "what --mi-target is compared with: the critic's bound or the aggregated posterior's information, "
            "of the update's batches or (valid-) of the last validation"
        },
    )
    mi_target_rate: float = field(
        default=0.001,
        metadata={"help": "change of the weight per update and nat that --mi-target is missed by"},
    )
    mi_weight_max: float = field(default=10.0, metadata={"help": "largest weight that --mi-target may reach"})
    mi_estimator: ChoiceEnum(MI_ESTIMATORS) = field(
        default="tangent",
        metadata={
            "help": "what --mi-weight raises: the bound of equation 12, or another objective (js is no bound in nats)"
        },
    )
    xi: ChoiceEnum(XI_MODES) = field(
        default="ema",
        metadata={
            "help": "slope of the bound's tangent. With ema it is 1 / running mean of E[e^f] over earlier updates, and "
            "with optimal 1 / E[e^f] of the batch itself (biased). With fixed it is --xi-value, and with paper "
            "E[e^f] as printed, which is no maximum"
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


_LEAST = {"lagging_limit": 1, "lagging_window": 1, "iw_train": 1, "mi_batch": 2}  # what counts something
_NOT_NEGATIVE = (
    "kl_weight", "free_bits", "mi_weight", "bow_weight", "mmd_weight", "lagging_interval", "iw_after_updates",
    "iw_after_epochs",
)  # fmt: skip


def check_config(cfg: VAEMineConfig) -> None:
    """Refuse settings that cannot work.

    Raises:
        AMIError: with the option.
    """
    for name in _NOT_NEGATIVE:
        if getattr(cfg, name) < 0:
            raise AMIError(f"{_flag(name)} must not be negative")
    for name, least in _LEAST.items():
        if getattr(cfg, name) < least:
            raise AMIError(f"{_flag(name)} must be at least {least}")
    if str(cfg.xi) == "fixed" and cfg.xi_value <= 0:
        raise AMIError("--xi-value must be positive: it is the slope of a tangent to the logarithm")
    if not 0 <= cfg.xi_decay < 1:
        raise AMIError("--xi-decay must be in [0, 1): it is the weight of the past in a running mean")
    if cfg.iw_after_updates and cfg.iw_after_epochs:
        raise AMIError("--iw-after-updates and --iw-after-epochs say the same thing: pass one of them")
    if cfg.mi_target is None:
        return
    for name in ("mi_target", "mi_target_rate"):
        if not getattr(cfg, name) > 0:  # nor a number that is none
            raise AMIError(f"{_flag(name)} must be positive")
    if str(cfg.mi_estimator) == "js" and str(cfg.mi_target_of) == "bound":
        raise AMIError("--mi-target is in nats, and --mi-estimator js is not: pass --mi-target-of information")
    if cfg.mi_weight_max < max(cfg.mi_weight, 1e-9):
        raise AMIError("--mi-weight-max must be positive and at least --mi-weight, the weight's start")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
