"""Settings of ``ami_phased``, and which of them belong to which player."""

from dataclasses import dataclass, field
from typing import AbstractSet, Dict, List, Optional, Tuple

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from fairseq_ami.errors import AMIError
from fairseq_ami.optim.weight_box import MODES
from fairseq_ami.schedules import PRETRAIN


@dataclass
class AMIPhasedConfig(FairseqDataclass):
    forward_lr: float = field(default=2e-4, metadata={"help": "learning rate of the forward network"})
    backward_lr: float = field(default=2e-4, metadata={"help": "learning rate of the backward network"})
    noise_lr: float = field(default=2e-4, metadata={"help": "learning rate of the noise network"})
    forward_clip_norm: float = field(
        default=1.0, metadata={"help": "limit of the forward network's gradient norm; 0 for none"}
    )
    backward_clip_norm: float = field(
        default=1.0, metadata={"help": "limit of the backward network's gradient norm; 0 for none"}
    )
    noise_clip_norm: float = field(
        default=1.0, metadata={"help": "limit of the noise network's gradient norm; 0 for none"}
    )
    generator_lr: float = field(default=2e-4, metadata={"help": "learning rate of a dialog_gan's generator"})
    discriminator_lr: float = field(default=2e-4, metadata={"help": "learning rate of a dialog_gan's discriminator"})
    baseline_lr: float = field(
        default=5e-4, metadata={"help": "learning rate of a dialog_gan's baseline network (Li et al. 2017: 0.0005)"}
    )
    generator_clip_norm: float = field(
        default=1.0, metadata={"help": "limit of the generator's gradient norm; 0 for none"}
    )
    discriminator_clip_norm: float = field(
        default=1.0, metadata={"help": "limit of the discriminator's gradient norm; 0 for none"}
    )
    baseline_clip_norm: float = field(
        default=1.0, metadata={"help": "limit of the gradient norm of the baseline network; 0 for none"}
    )
    critic_lr: Optional[float] = field(
        default=None,
        metadata={
            "help": "learning rate of the text VAE's energy function while --lr is not lowered; it falls with --lr "
            "(default: --lr itself)"
        },
    )
    critic_optimizer: Optional[str] = field(
        default=None,
        metadata={"help": "fairseq optimizer of the text VAE's energy function (default: --inner-optimizer)"},
    )
    encoder_lr: Optional[float] = field(
        default=None,
        metadata={
            "help": "learning rate of the text VAE's encoder while --lr is not lowered; it falls with --lr "
            "(default: --lr itself)"
        },
    )
    encoder_optimizer: Optional[str] = field(
        default=None, metadata={"help": "fairseq optimizer of the text VAE's encoder (default: --inner-optimizer)"}
    )
    encoder_clip_norm: float = field(
        default=5.0, metadata={"help": "limit of the gradient norm of the text VAE's encoder; 0 for none"}
    )
    decoder_clip_norm: float = field(
        default=5.0, metadata={"help": "limit of the gradient norm of the text VAE's decoder; 0 for none"}
    )
    critic_clip_norm: float = field(
        default=5.0,
        metadata={
            "help": "limit of the gradient norm of the text VAE's energy function and bag-of-words network; 0 for none"
        },
    )
    pretrain_lr: float = field(default=1e-3, metadata={"help": "peak learning rate during --pretrain-updates"})
    pretrain_warmup_updates: int = field(
        default=400,
        metadata={"help": "updates of warm-up in the pretraining; its rate then falls with the inverse square root"},
    )
    inner_optimizer: str = field(
        default="adam", metadata={"help": "fairseq optimizer of every player that has none of its own"}
    )
    inner_optimizer_args: str = field(
        default="{}",
        metadata={
            "help": "settings of --inner-optimizer as a JSON object, by their names in fairseq's configuration "
            "(adam: betas 0.9, 0.98 if not given)"
        },
    )
    inner_lr_scheduler: str = field(
        default="fixed",
        metadata={
            "help": "fairseq scheduler of every player with a learning rate of its own, after pretraining; it counts "
            "the player's own updates"
        },
    )
    inner_lr_scheduler_args: str = field(
        default="{}",
        metadata={
            "help": "settings of --inner-lr-scheduler as a JSON object, by their names in fairseq's configuration; "
            "numbers of updates are the player's own"
        },
    )
    weight_clip: float = field(
        default=0.01, metadata={"help": "half width of the backward network's weight box (the paper: 0.01)"}
    )
    weight_clip_mode: ChoiceEnum(MODES) = field(
        default="relative",
        metadata={
            "help": "centre of the backward network's weight box: relative, its weights at the start of the minimax; "
            "absolute, 0 (the paper); none, no box"
        },
    )
    baseline_decay: float = field(
        default=0.9, metadata={"help": "weight of the past in the running mean and standard deviation of the rewards"}
    )
    lr: List[float] = II("optimization.lr")
    # under these names, which are those of fairseq's own flags: any other would become a flag that is always on
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")


NAMES = {
    "forward": "forward network", "backward": "backward network", "noise": "noise network",
    "generator": "generator", "discriminator": "discriminator", "baseline": "baseline network",
    "encoder": "encoder of a text VAE", "decoder": "decoder of a text VAE", "critic": "energy function of a text VAE",
}  # fmt: skip
# options that act on a player in its own updates
PLAYING: Dict[str, Tuple[str, ...]] = {
    "forward": ("forward_lr",),
    "backward": ("backward_lr",),
    "noise": ("noise_lr",),
    "generator": ("generator_lr",),
    "discriminator": ("discriminator_lr",),
    "baseline": ("baseline_lr",),
    "encoder": ("encoder_lr", "encoder_optimizer"),
    "critic": ("critic_lr", "critic_optimizer"),
}
# options that act on a player whenever it moves, in pretraining as well
MOVING: Dict[str, Tuple[str, ...]] = {player: (f"{player}_clip_norm",) for player in NAMES}
# options of a pair of networks, whoever of the two moves; AMIPhased.set_box asks whether there is a box
PRESENT: Dict[str, Tuple[str, ...]] = {
    "forward": ("pretrain_lr", "pretrain_warmup_updates", "baseline_decay"),
    "backward": ("weight_clip", "weight_clip_mode"),
}
# options of one of these tables that another player feels as well
ALSO: Dict[str, Tuple[str, ...]] = {"baseline_decay": ("generator",)}
# what to change about the updates of a phase when the numbers run away
REMEDIES = {
    PRETRAIN: "lower --pretrain-lr or raise --pretrain-warmup-updates",
    "noise": "lower --noise-lr or cap the noise (--noise-norm-cap 1)",
    "forward": "lower --forward-lr or --policy-weight, or clip (--forward-clip-norm 1)",
    "backward": "lower --backward-lr, or bound its loss (--weight-clip-mode relative, --fake-loss unlikelihood)",
    "discriminator": "lower --discriminator-lr, or clip (--discriminator-clip-norm 1)",
    "generator": "lower --generator-lr or --policy-weight, or clip (--generator-clip-norm 1)",
    "teacher": "lower --generator-lr, or clip (--generator-clip-norm 1)",
}
SCHEDULE = ("inner_lr_scheduler", "inner_lr_scheduler_args")


def follows_lr(cfg: AMIPhasedConfig, player: str) -> bool:
    """Whether the player has no learning rate of its own, and so takes --lr and its scheduler."""
    return getattr(cfg, f"{player}_lr", None) is None


def check_options(
    cfg: AMIPhasedConfig,
    players: AbstractSet[str],
    pretrained: AbstractSet[str] = frozenset(),
    others: AbstractSet[str] = frozenset(),
) -> None:
    """Refuse options that no player of this run would feel. One that equals its default passes.

    Args:
        cfg: settings of ``ami_phased``.
        players: who has updates of its own.
        pretrained: who moves in pretraining.
        others: who else is part of the model.

    Raises:
        AMIError: with the option, its player and the players that there are.
    """
    there = {*players, *pretrained}
    for table, felt_by in ((PLAYING, set(players)), (MOVING, there), (PRESENT, there | others)):
        for player, names in table.items():
            for name in names:
                if felt_by.isdisjoint({player, *ALSO.get(name, ())}) and given(cfg, name):
                    raise AMIError(
                        f"{_flag(name)} is for the {NAMES[player]}, which has no updates in this run (players: "
                        f"{', '.join(sorted(players))}): leave it out"
                    )
    if all(follows_lr(cfg, player) for player in there):
        for name in SCHEDULE:
            if given(cfg, name):
                raise AMIError(
                    f"{_flag(name)} is for players with a learning rate of their own (--encoder-lr, --critic-lr); "
                    "those of this run follow --lr: leave it out and use --lr-scheduler"
                )


def given(cfg: AMIPhasedConfig, name: str) -> bool:
    """Whether the option differs from its default: one that is written down with its default counts as not given."""
    return str(getattr(cfg, name)) != str(AMIPhasedConfig.__dataclass_fields__[name].default)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
