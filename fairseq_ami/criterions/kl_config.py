"""The weight of a KL term over the updates, which the objectives of latent variables share."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from fairseq_ami.schedules import ANNEALINGS


@dataclass
class AnnealedKL(FairseqDataclass):
    kl_weight: float = field(default=1.0, metadata={"help": "weight of KL(q(z|x) || p(z)), after annealing (beta)"})
    kl_anneal: ChoiceEnum(ANNEALINGS) = field(
        default="constant",
        metadata={
            "help": "how the KL weight gets to --kl-weight: it is there, it rises once, or in cycles (Fu et al. 2019)"
        },
    )
    kl_start: float = field(default=0.0, metadata={"help": "KL weight at the start of --kl-anneal"})
    kl_anneal_updates: int = field(default=0, metadata={"help": "length of --kl-anneal in updates"})
    kl_cycles: int = field(default=4, metadata={"help": "how many times the weight rises with --kl-anneal cyclic"})
    kl_cycle_ratio: float = field(
        default=0.5, metadata={"help": "part of a cycle in which the weight rises with --kl-anneal cyclic"}
    )
