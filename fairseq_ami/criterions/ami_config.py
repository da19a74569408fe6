"""Settings of ``ami_minimax``."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from fairseq_ami.choices import SIMILARITIES
from fairseq_ami.criterions.ami_games import GAMES
from fairseq_ami.objectives.adversarial import FAKE_LOSSES


@dataclass
class AMIMinimaxConfig(FairseqDataclass):
    objective: ChoiceEnum(list(GAMES)) = field(
        default="ami",
        metadata={
            "help": "the game: ami is the paper's minimax; in mmi both networks maximise the mutual information; "
            "mmi-fixed freezes the backward network; reward learns from --reward alone; mle is maximum likelihood"
        },
    )
    label_smoothing: float = field(
        default=0.0, metadata={"help": "label smoothing, of the maximum-likelihood terms only"}
    )
    mle_weight: float = field(default=1.0, metadata={"help": "weight of log P(T|S) in the forward phase"})
    policy_weight: float = field(default=1.0, metadata={"help": "weight of the reward term in the forward phase"})
    real_weight: Optional[float] = field(
        default=None, metadata={"help": "weight of log Q(S|T) in the backward phase (default: 1, with mmi 0)"}
    )
    adversarial_weight: Optional[float] = field(
        default=None,
        metadata={"help": "weight of the sampled pairs in the backward phase (default: 0.1, with mmi 1)"},
    )
    fake_loss: ChoiceEnum(FAKE_LOSSES) = field(
        default="log-likelihood", metadata={"help": "what the backward network minimises on sampled pairs"}
    )
    fake_margin: float = field(default=5.0, metadata={"help": "margin of --fake-loss hinge, in nats per token"})
    cosine_multiplier: ChoiceEnum(["backward", "both", "none"]) = field(
        default="both",
        metadata={"help": "where K(T') weighs samples: in the backward phase, in both phases (the paper), or nowhere"},
    )
    multiplier_similarity: ChoiceEnum(SIMILARITIES) = field(
        default="cosine",
        metadata={
            "help": "what K(T') is 1 minus of: the cosine of mean word embeddings (the paper), or BLEU or chrF of the "
            "sentence"
        },
    )
    center_cosine: bool = field(
        default=False,
        metadata={
            "help": "subtract the corpus' average word embedding before K(T') compares; without it K favours long "
            "replies"
        },
    )
    infomax_weight: float = field(
        default=0.0,
        metadata={
            "help": "weight of InfoMax-GAN's regulariser: the backward network ascends it on real T, the others get it "
            "as a reward for T' (needs --infomax-dim; InfoMax-GAN: 0.2)"
        },
    )
    reward: Optional[str] = field(
        default=None,
        metadata={
            "help": "what samples are rewarded for, as name=weight,...: log-q, chrf, bleu (of the sentence, as "
            "fractions), infomax, constant, or a function of your own as module:function (default: log-q)"
        },
    )
    reward_post_process: Optional[str] = field(
        default="@@ ",
        metadata={"help": "how subwords are undone before a reward reads text: '@@ ', sentencepiece, ..."},
    )
    reward_length: ChoiceEnum(["as-is", "neutral"]) = field(
        default="as-is",
        metadata={"help": "neutral subtracts what is linear in the length of a source's samples (running regression)"},
    )
    anchor_weight: float = field(
        default=0.0,
        metadata={
            "help": "reward for staying near the forward network P0 at the start of the game: the weight of "
            "(log P0(T'|S) - log P(T'|S)) / |T'|"
        },
    )
    policy_loss: ChoiceEnum(["reinforce", "minimum-risk"]) = field(
        default="reinforce",
        metadata={"help": "score function with a baseline, or expected reward over the samples (Shen et al., 2016)"},
    )
    risk_alpha: float = field(
        default=0.005, metadata={"help": "sharpness of the samples' probabilities under --policy-loss minimum-risk"}
    )
    unlabelled_weight: float = field(
        default=1.0, metadata={"help": "weight of the sentences of --unlabelled, in both phases that use them"}
    )
    unlabelled_backward: ChoiceEnum(["cooperative", "off"]) = field(
        default="cooperative",
        metadata={
            "help": "what the backward network learns from (S, T') of --unlabelled: cooperative, log Q(S|T') as in "
            "back-translation; off, nothing. It never learns to distrust them: no real pair would contradict it"
        },
    )
    sampler: ChoiceEnum(["ancestral", "teacher-forced"]) = field(
        default="ancestral",
        metadata={"help": "how T' is made: drawn word by word, or the likeliest word after each prefix of T"},
    )
    num_samples: int = field(default=2, metadata={"help": "number of samples T' per source (the paper: 1)"})
    sample_temperature: float = field(default=1.0, metadata={"help": "temperature of the ancestral sampler"})
    sample_topk: int = field(
        default=0, metadata={"help": "sample T' from so many of the likeliest words only; 0 for all"}
    )
    sample_topp: float = field(
        default=1.0, metadata={"help": "sample T' from the likeliest words that have this probability together"}
    )
    sample_max_len_a: float = field(
        default=1.5, metadata={"help": "samples have at most a * source length + b symbols; this is a"}
    )
    sample_max_len_b: int = field(
        default=10, metadata={"help": "samples have at most a * source length + b symbols; this is b"}
    )
    baseline: ChoiceEnum(["leave-one-out", "running-mean"]) = field(
        default="leave-one-out", metadata={"help": "baseline of the rewards (the paper: running mean)"}
    )
    reward_scale: ChoiceEnum(["advantage-std", "running-std", "none"]) = field(
        default="advantage-std",
        metadata={
            "help": "what the rewards are divided by: advantage-std, the running standard deviation of what the "
            "baseline leaves of them; running-std, their own, often far larger; none, nothing (the paper)"
        },
    )
    reward_per: ChoiceEnum(["token", "sentence"]) = field(
        default="token",
        metadata={"help": "reward of a sample: log Q(S|T') per token of S, or of the whole of S (the paper)"},
    )
    noise_lambda: float = field(
        default=0.1, metadata={"help": "lambda of equation 15: weight of the noise's root mean square"}
    )
    noise_norm_cap: float = field(
        default=1.0,
        metadata={"help": "root mean square of the noise above which more earns nothing; 0 for no limit (the paper)"},
    )
    no_valid_bound: bool = field(default=False, metadata={"help": "validate without sampling: no VIM bound, faster"})
    seed: int = II("common.seed")
