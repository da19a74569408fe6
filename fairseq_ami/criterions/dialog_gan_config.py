"""Settings of ``dialog_gan``, and which of them cannot work together."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from fairseq_ami.errors import AMIError

STEP_REWARDS = ("none", "monte-carlo", "prefix")
BASELINES = ("leave-one-out", "running-mean", "network", "none")


@dataclass
class DialogGANLossConfig(FairseqDataclass):
    step_rewards: ChoiceEnum(STEP_REWARDS) = field(
        default="monte-carlo",
        metadata={
            "help": "what each word of a reply is rewarded for. With none it is the whole reply (REINFORCE), with "
            "monte-carlo the mean over completions of the reply up to that word (REGS). With prefix it is the reply up "
            "to that word, before a discriminator of prefixes"
        },
    )
    completions: int = field(default=5, metadata={"help": "completions of each prefix of --step-rewards monte-carlo"})
    beam_share: float = field(
        default=0.0,
        metadata={
            "help": "share of the histories to which the discriminator sees the reply of beam search, instead of "
            "samples (Li et al. 2017, in its pretraining: 0.5)"
        },
    )
    num_samples: int = field(default=2, metadata={"help": "replies drawn per history (Li et al. 2017: 1)"})
    baseline: ChoiceEnum(BASELINES) = field(
        default="leave-one-out",
        metadata={
            "help": "what is subtracted from the rewards: the mean of the other replies to the history, the running "
            "mean, a linear network of the history (Li et al. 2017), or nothing"
        },
    )
    reward_scale: ChoiceEnum(["advantage-std", "none"]) = field(
        default="advantage-std",
        metadata={
            "help": "what the rewards are divided by: the running standard deviation of what the baseline leaves of "
            "them, or nothing (Li et al. 2017)"
        },
    )
    policy_weight: float = field(default=1.0, metadata={"help": "factor on the loss of the rewards"})
    sample_temperature: float = field(default=1.0, metadata={"help": "temperature of the sampled replies"})
    sample_topk: int = field(
        default=0, metadata={"help": "sample replies from so many of the likeliest words only; 0 for all"}
    )
    sample_topp: float = field(
        default=1.0, metadata={"help": "sample replies from the likeliest words that have this probability together"}
    )
    sample_max_len_a: float = field(
        default=0.0, metadata={"help": "replies have at most a * length of the history + b symbols; this is a"}
    )
    sample_max_len_b: int = field(
        default=40, metadata={"help": "replies have at most a * length of the history + b symbols; this is b"}
    )
    seed: int = II("common.seed")


def check_settings(cfg: DialogGANLossConfig) -> None:
    """Refuse settings that cannot work, or that would have no effect.

    Raises:
        AMIError: with what to pass.
    """
    if cfg.num_samples < 1 or cfg.completions < 1:
        raise AMIError("--num-samples and --completions must be at least 1")
    if str(cfg.baseline) == "leave-one-out" and cfg.num_samples < 2:
        raise AMIError(
            "--baseline leave-one-out compares the replies to a history with one another: pass --num-samples 2 or "
            "more, or --baseline running-mean"
        )
    if str(cfg.step_rewards) != "monte-carlo" and cfg.completions != DialogGANLossConfig.completions:
        raise AMIError("--completions is for --step-rewards monte-carlo: leave it out")
    if not 0 <= cfg.beam_share <= 1:
        raise AMIError("--beam-share must be in [0, 1]")
    if cfg.sample_temperature <= 0 or not 0 < cfg.sample_topp <= 1 or cfg.sample_topk < 0:
        raise AMIError("--sample-temperature must be positive, --sample-topp in (0, 1], --sample-topk 0 or more")
    if cfg.sample_max_len_a < 0 or cfg.sample_max_len_b < 0 or not (cfg.sample_max_len_a or cfg.sample_max_len_b):
        raise AMIError("--sample-max-len-a and --sample-max-len-b must not be negative, and not both 0")
    if not cfg.policy_weight > 0:
        raise AMIError("--policy-weight must be positive")
