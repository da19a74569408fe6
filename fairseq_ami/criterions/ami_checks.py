"""Which settings of ``ami_minimax`` cannot work together, said before the first update."""

import logging
import math
from typing import Dict

from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.ami_games import Game
from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.rewards import NEED_REFERENCES, parse_rewards

logger = logging.getLogger(__name__)


def check_settings(cfg: AMIMinimaxConfig, game: Game, unlabelled: bool) -> None:
    """Refuse settings that cannot work, or that would have no effect.

    Args:
        cfg: of the criterion.
        game: of its objective.
        unlabelled: whether there are sentences without references.

    Raises:
        AMIError: with what to pass.
    """
    _check_sampling(cfg, game)
    if str(cfg.policy_loss) == "minimum-risk" and game.samples:
        _check_minimum_risk(cfg)
    elif _given(cfg, "risk_alpha"):
        raise AMIError("--risk-alpha belongs to --policy-loss minimum-risk")
    _check_parts(cfg, game)
    _check_unlabelled(cfg, game, unlabelled)


def _check_sampling(cfg: AMIMinimaxConfig, game: Game) -> None:
    if cfg.num_samples < 1:
        raise AMIError("--num-samples must be at least 1")
    minimum_risk = str(cfg.policy_loss) == "minimum-risk"
    if str(cfg.baseline) == "leave-one-out" and cfg.num_samples < 2 and game.samples and not minimum_risk:
        raise AMIError(
            "--baseline leave-one-out compares the samples of a source with one another: pass --num-samples 2 or "
            "more, or --baseline running-mean"
        )
    if cfg.sample_temperature <= 0 or not 0 < cfg.sample_topp <= 1 or cfg.sample_topk < 0:
        raise AMIError("--sample-temperature must be positive, --sample-topp in (0, 1], --sample-topk 0 or more")
    if str(cfg.sampler) == "teacher-forced" and (cfg.sample_topk or cfg.sample_topp < 1):
        raise AMIError("--sample-topk and --sample-topp belong to --sampler ancestral")


def _check_minimum_risk(cfg: AMIMinimaxConfig) -> None:
    if cfg.num_samples < 2:
        raise AMIError(
            "--policy-loss minimum-risk compares the samples of a source with one another: pass --num-samples 2 or more"
        )
    if str(cfg.sampler) == "teacher-forced":
        raise AMIError("--policy-loss minimum-risk needs samples that differ: pass --sampler ancestral")
    if _given(cfg, "baseline"):
        raise AMIError("--baseline has no effect with --policy-loss minimum-risk: leave it out")
    if not cfg.risk_alpha > 0:
        raise AMIError("--risk-alpha must be positive: at 0 all samples count alike")


def _check_parts(cfg: AMIMinimaxConfig, game: Game) -> None:
    """Refuse what is asked of a part that this game does not have."""
    critic_sees_samples = game.samples and "backward" in game.players
    without_effect = {
        "--cosine-multiplier backward": not game.multiplier and str(cfg.cosine_multiplier) == "backward",
        "--multiplier-similarity": _given(cfg, "multiplier_similarity") and not game.multiplier,
        "--fake-loss": not game.adversarial and _given(cfg, "fake_loss"),
        "--real-weight": cfg.real_weight is not None and "backward" not in game.players,
        "--adversarial-weight": cfg.adversarial_weight is not None and not critic_sees_samples,
        "--infomax-weight": cfg.infomax_weight != 0 and not critic_sees_samples,
        "--reward": cfg.reward is not None and not game.samples,
        "--anchor-weight": cfg.anchor_weight != 0 and not game.samples,
        "--reward-length neutral": str(cfg.reward_length) == "neutral" and not game.samples,
        "--policy-loss minimum-risk": str(cfg.policy_loss) == "minimum-risk" and not game.samples,
    }
    for flag in (flag for flag, holds in without_effect.items() if holds):
        raise AMIError(f"{flag} has no effect with --objective {cfg.objective}: leave it out")
    if _given(cfg, "multiplier_similarity") and str(cfg.cosine_multiplier) == "none":
        raise AMIError("--multiplier-similarity has no effect with --cosine-multiplier none: leave one of them out")
    if cfg.center_cosine and str(cfg.multiplier_similarity) != "cosine":
        raise AMIError("--center-cosine has no effect with --multiplier-similarity bleu or chrf: leave it out")


def _check_unlabelled(cfg: AMIMinimaxConfig, game: Game, unlabelled: bool) -> None:
    """Refuse settings of sentences without references where there are none, and rewards that need references."""
    if unlabelled and not game.samples:
        raise AMIError(f"--unlabelled has no effect with --objective {cfg.objective}, which draws no T': leave it out")
    asked = [name for name in ("unlabelled_weight", "unlabelled_backward") if _given(cfg, name)]
    if asked and not unlabelled:
        raise AMIError(
            f"--{asked[0].replace('_', '-')} is for the sentences of --unlabelled: name them, or leave it out"
        )
    if "unlabelled_backward" in asked and "backward" not in game.players:
        raise AMIError(f"--unlabelled-backward has no effect with --objective {cfg.objective}: leave it out")
    if unlabelled and str(cfg.sampler) == "teacher-forced":
        raise AMIError(
            "--sampler teacher-forced follows a reference, which the sentences of --unlabelled do not have: pass "
            "--sampler ancestral, or leave --unlabelled out"
        )
    if not 0 < cfg.unlabelled_weight < math.inf:
        raise AMIError(f"--unlabelled-weight must be a positive number, not {cfg.unlabelled_weight}")
    need = [name for name in reward_weights(cfg, game) if name in NEED_REFERENCES]
    if unlabelled and need:
        raise AMIError(
            f"--reward {need[0]} compares with references, which the sentences of --unlabelled do not have: reward "
            "them with log-q or a function of your own, or leave --unlabelled out"
        )


def reward_weights(cfg: AMIMinimaxConfig, game: Game) -> Dict[str, float]:
    """Reward -> weight: those of ``--reward``, else those of the game; ``--infomax-weight`` adds its own.

    Raises:
        AMIError: a game without rewards of its own, or names and weights that cannot be read.
    """
    if cfg.reward is None and game.rewards == ():
        raise AMIError(f"--objective {cfg.objective} needs --reward, such as --reward chrf")
    weights = parse_rewards(cfg.reward) if cfg.reward is not None else {name: 1.0 for name in game.rewards or ()}
    if cfg.infomax_weight:
        weights.setdefault("infomax", cfg.infomax_weight)
    elif "infomax" in weights:
        raise AMIError("--reward infomax needs a backward network that learns it: pass --infomax-weight as well")
    return weights


def check_model(cfg: AMIMinimaxConfig, game: Game, need_backward: bool, model: PairedModel) -> None:
    """Refuse settings that *model* has no part for.

    Args:
        cfg: of the criterion.
        game: of its objective.
        need_backward: whether a reward comes from the backward network.
        model: the pair.

    Raises:
        AMIError: with what to pass.
    """
    plays = "backward" in game.players
    if model.backward_model is None and (plays or need_backward):
        what = f"--objective {cfg.objective}" if plays else "--reward log-q"
        raise AMIError(f"{what} needs the backward network: leave --no-backward-network out")
    if model.backward_model is not None and not (plays or need_backward):
        logger.info("the backward network takes no part in this game: --no-backward-network saves its memory")
    if cfg.infomax_weight and model.infomax is None:
        raise AMIError("--infomax-weight needs the heads of the backward network: pass --infomax-dim as well")
    noise = game.noise and model.latent_noise is not None
    alike = str(cfg.sampler) == "teacher-forced" and not noise
    if alike and game.samples and str(cfg.baseline) == "leave-one-out":
        raise AMIError(
            "--sampler teacher-forced without latent noise draws the same T' every time, and --baseline "
            "leave-one-out would leave no reward at all: pass --baseline running-mean"
        )
    if str(cfg.policy_loss) == "minimum-risk" and noise:
        raise AMIError(
            "--policy-loss minimum-risk needs samples of one distribution, and each has a latent noise of its own: "
            "pass --no-latent-noise"
        )


def _given(cfg: AMIMinimaxConfig, name: str) -> bool:
    """Whether the setting differs from its default."""
    return str(getattr(cfg, name)) != str(AMIMinimaxConfig.__dataclass_fields__[name].default)
