"""``ami_minimax``: the objective of each phase of the game (AMI equations 4, 10 to 13, 15, 20)."""

import logging
from typing import Callable, Dict, FrozenSet, List, Optional, Tuple, Union

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from torch import Tensor

from fairseq_ami.criterions.ami_checks import check_model, check_settings, reward_weights
from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.ami_games import GAMES
from fairseq_ami.criterions.ami_infomax import sentence_information
from fairseq_ami.criterions.ami_multiplier import make_multiplier
from fairseq_ami.criterions.ami_report import log_metrics
from fairseq_ami.criterions.ami_rewards import Rewards
from fairseq_ami.criterions.ami_turn import Step, Turn
from fairseq_ami.criterions.ami_validation import evaluate_pair
from fairseq_ami.data import reverse_sample
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import (
    Rollout,
    SamplerSettings,
    backward_log_likelihood,
    roll_out,
    sample_sums,
    score_samples,
)
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.modules import weights_replaced
from fairseq_ami.objectives import (
    advantages,
    fake_loss,
    first_of_its_kind,
    label_smoothed_nll,
    minimum_risk_loss,
    policy_loss,
    within_source,
    without_length,
)
from fairseq_ami.schedules import PRETRAIN
from fairseq_ami.types import UNLABELLED, Batch, Log, PairTask, Weights

logger = logging.getLogger(__name__)

SOURCES_SHOWN = 3  # of a batch whose samples are asked for
MIN_REWARD_STD = 0.01  # nats, per token or per sentence as the reward is


@register_criterion("ami_minimax", dataclass=AMIMinimaxConfig)
class AMIMinimax(FairseqCriterion):
    """One scalar loss for the player whose phase it is, sums over the batch, and its denominator.

    Denominators: target tokens in the forward phase and in pretraining, source tokens in the backward
    phase, sentences in the noise phase. Every term is a sum, so gradients of micro-batches and workers add up.
    """

    def __init__(self, cfg: AMIMinimaxConfig, task: PairTask):
        super().__init__(task)
        self.cfg = cfg
        self.game = GAMES[str(cfg.objective)]
        check_settings(cfg, self.game, bool(getattr(task.cfg, "unlabelled", None)))
        target = task.target_dictionary
        self.pad, self.eos = target.pad(), target.eos()
        self.not_words = (target.pad(), target.eos(), target.bos())
        self.multiplier = make_multiplier(cfg, task, self.not_words)
        self.rewards = Rewards(reward_weights(cfg, self.game), cfg, task, self.multiplier, self.pad, self.not_words)
        banned = (target.pad(), target.bos(), *getattr(task, "separators", ()))
        policy = Policy(banned, cfg.sample_temperature, cfg.sample_topk, cfg.sample_topp)
        self.sampling = SamplerSettings(
            policy, str(cfg.sampler), cfg.num_samples, cfg.sample_max_len_a, cfg.sample_max_len_b, cfg.seed,
            self.pad, self.eos,
        )  # fmt: skip
        self.real_weight = self.game.real_weight if cfg.real_weight is None else cfg.real_weight
        self.fake_weight = self.game.fake_weight if cfg.adversarial_weight is None else cfg.adversarial_weight
        self.phases: Dict[str, Callable[[Turn], Tuple[Tensor, int]]] = {
            PRETRAIN: self._pretrain_phase,
            "forward": self._forward_phase,
            "noise": self._noise_phase,
            "backward": self._backward_phase,
        }

    def check_model(self, model: PairedModel) -> None:
        """Refuse settings that *model* has no part for, before the first update.

        Raises:
            AMIError: with what to pass.
        """
        check_model(self.cfg, self.game, self.game.samples and self.rewards.need_backward, model)

    @property
    def players(self) -> FrozenSet[str]:
        """Who takes part in this objective."""
        return self.game.players

    def forward(
        self, model: PairedModel, sample: Batch, step: Optional[Step] = None, common: Optional[Weights] = None
    ) -> Tuple[Tensor, int, Log]:
        """The phase's loss, or without *step* the validation of both networks.

        Args:
            model: the paired model.
            sample: a fairseq batch of the forward direction.
            step: the phase and its reward statistics.
            common: weights of the frozen common Q of validation; see :func:`evaluate_pair`.

        Returns:
            loss (summed), sample size, and sums to log.
        """
        reverse = reverse_sample(sample, self.pad, self.eos)
        log: Log = {
            "ntokens": sample["ntokens"],
            "nsentences": len(sample["id"]),
            "source_tokens": reverse["ntokens"],
        }
        if step is None:
            sampling = None if self.cfg.no_valid_bound else self.sampling
            loss, size = evaluate_pair(model, sample, reverse, sampling, self.multiplier, common, log)
        else:
            loss, size = self.phases[step.phase](Turn(model, sample, reverse, step, log))
        log.update(loss=loss.detach(), sample_size=size)
        return loss, size, log

    # ------------------------------------------------------------------ phases

    def _pretrain_phase(self, turn: Turn) -> Tuple[Tensor, int]:
        loss = self._likelihood(turn, "forward")
        if turn.model.backward_model is not None:
            loss = loss + self._likelihood(turn, "backward")
        return loss + self._infomax_term(turn), turn.batch["ntokens"]

    def _forward_phase(self, turn: Turn) -> Tuple[Tensor, int]:
        """w_mle log P(T|S) + E[(K r - b) log P(T'|S)] (equations 12 and 20)."""
        loss = self.cfg.mle_weight * self._likelihood(turn, "forward")
        if self.game.samples and self.cfg.policy_weight != 0:
            use_multiplier = self.game.multiplier and str(self.cfg.cosine_multiplier) == "both"
            term, _ = self._policy_term(turn, use_multiplier)
            loss = loss + self.cfg.policy_weight * term
            rewarded = self._unlabelled(turn, lambda other: self._policy_term(other, use_multiplier=False)[0])
            loss = loss + self.cfg.policy_weight * rewarded
        return loss, turn.batch["ntokens"]

    def _noise_phase(self, turn: Turn) -> Tuple[Tensor, int]:
        """lambda ||delta|| + E[(r - b) log P(T'|S, delta)] (equation 15)."""
        term, rollout = self._policy_term(turn, use_multiplier=False)
        norm = rollout.noise_norm
        cap = self.cfg.noise_norm_cap
        size = norm.clamp(max=cap) if cap > 0 else norm
        return term - self.cfg.noise_lambda * size.mean(1).sum(), turn.size

    def _backward_phase(self, turn: Turn) -> Tuple[Tensor, int]:
        """log Q(S|T) - w E[K log Q(S|T')] (equations 10, 11, 13); in MMI E[log Q(S|T')] (equation 4)."""
        loss = self._infomax_term(turn)
        if self.real_weight != 0:
            loss = loss + self.real_weight * self._likelihood(turn, "backward")
        if self.fake_weight != 0:
            loss = loss + self.fake_weight * self._fake_term(turn, self.game.adversarial)
        if str(self.cfg.unlabelled_backward) == "cooperative":
            loss = loss + self._unlabelled(turn, lambda other: self._fake_term(other, adversarial=False))
        return loss, turn.reverse["ntokens"]

    # ------------------------------------------------------------------ terms

    def _unlabelled(self, turn: Turn, term: Callable[[Turn], Tensor]) -> Union[Tensor, float]:
        """*term* of the sentences without references, weighed against the tokens of the pairs; 0 without any.

        Its sums are logged under names of their own. A spare sentence counts for nothing.
        """
        batch = turn.batch.get("unlabelled")
        if batch is None or turn.step.unlabelled is None:
            return 0.0
        counts = 0 if batch.get("spare") else 1
        log: Log = {}
        value = term(Turn(turn.model, batch, reverse_sample(batch, self.pad, self.eos), turn.step.unlabelled, log))
        turn.log.update({UNLABELLED + name: counts * number for name, number in log.items()})
        return counts * self.cfg.unlabelled_weight * value

    def _likelihood(self, turn: Turn, direction: str) -> Tensor:
        """Label-smoothed negative log-likelihood of real pairs under one of the networks, summed."""
        model, forward = turn.model, direction == "forward"
        network, batch = (model.forward_model, turn.batch) if forward else (model.backward_model, turn.reverse)
        name = "forward_nll" if forward else "backward_nll_real"
        target = batch["target"]
        words = target.ne(self.pad)
        log_probs = torch.log_softmax(model.run_where(network, batch["net_input"], words).float(), dim=-1)
        loss, nll = label_smoothed_nll(log_probs, target[words], self.cfg.label_smoothing, self.pad)
        turn.log.update({name: nll.detach(), f"{name}_tokens": batch["ntokens"]})
        return loss

    def _policy_term(self, turn: Turn, use_multiplier: bool) -> Tuple[Tensor, Rollout]:
        """The loss of the rewards, summed over sources, averaged over the samples of each."""
        rollout = roll_out(turn.model, turn.batch, self.sampling, turn.step.update, self._noise(turn.model), score=True)
        plain, parts = self.rewards(turn, rollout, use_multiplier)
        rewards = self._shaped(turn, rollout, plain)
        self._log_rewards(turn, rewards)
        turn.log.update(sample_sums(rollout, turn.batch, self.sampling))
        advantage = self._advantages(turn, rewards)
        if turn.step.shown is not None:
            told = {"reward": rewards, **parts, "advantage": advantage}
            turn.step.shown.extend(self.rewards.shown(turn, rollout, told, SOURCES_SHOWN - len(turn.step.shown)))
        if str(self.cfg.policy_loss) == "reinforce":
            return policy_loss(rollout.log_prob, advantage).sum(), rollout
        distinct = first_of_its_kind(rollout.samples.tokens, self.sampling.num_samples)
        return minimum_risk_loss(rollout.log_prob, advantage, self.cfg.risk_alpha, distinct).sum(), rollout

    @torch.no_grad()
    def _shaped(self, turn: Turn, rollout: Rollout, rewards: Tensor) -> Tensor:
        """The rewards with the anchor, and without what is linear in length."""
        lengths = rollout.samples.tokens.ne(self.pad).sum(1).view_as(rewards)
        if turn.step.anchor is not None:
            rewards = rewards + self.cfg.anchor_weight * self._anchor(turn, rollout, lengths)
        if str(self.cfg.reward_length) == "as-is":
            return rewards
        centred = within_source(lengths.double())
        product = (centred * within_source(rewards.double())).sum()
        turn.log.update(length_product=product, length_square=centred.pow(2).sum())
        return rewards if turn.step.length_slope is None else without_length(rewards, lengths, turn.step.length_slope)

    def _anchor(self, turn: Turn, rollout: Rollout, lengths: Tensor) -> Tensor:
        """(log P0(T'|S) - log P(T'|S)) / |T'|, P0 being the forward network at the start of the game."""
        with weights_replaced(turn.model.trained_by("forward"), turn.step.anchor):
            start = score_samples(turn.model, turn.batch, rollout.samples, self.sampling)
        difference = (start - rollout.log_prob.detach()) / lengths
        turn.log.update(anchor_divergence=-difference.sum())
        return difference

    def _infomax_term(self, turn: Turn) -> Tensor:
        """InfoMax-GAN's bound on real T: nats per word, weighed against log Q(S|T) per token of S."""
        target = turn.batch["target"]
        if not self.cfg.infomax_weight:
            return torch.zeros((), device=target.device)
        sums, words = sentence_information(turn.model, target, self.pad, self.not_words)
        turn.log.update(infomax_real_sum=sums.detach().sum(), infomax_real_words=words.sum())
        return -self.cfg.infomax_weight * turn.reverse["ntokens"] * sums.sum() / words.sum().clamp(min=1)

    def _advantages(self, turn: Turn, rewards: Tensor) -> Tensor:
        """Baseline and scale. Statistics of earlier updates only: an update without those that it needs
        gathers them and learns nothing, instead of coupling the samples of a batch."""
        step, running = turn.step, str(self.cfg.baseline) == "running-mean"
        no_slope = str(self.cfg.reward_length) == "neutral" and step.length_slope is None
        if no_slope or (running and step.reward_mean is None):
            return torch.zeros_like(rewards)
        if str(self.cfg.policy_loss) == "minimum-risk":
            found = within_source(rewards)  # the same for the gradient, and small numbers
        else:
            found = advantages(rewards, step.reward_mean if running else None)
        turn.log.update(advantage_sum=found.double().sum(), advantage_square=found.double().pow(2).sum())
        kind = str(self.cfg.reward_scale)
        if kind == "none":
            return found
        scale = step.reward_std if kind == "running-std" else step.advantage_std
        # rewards that hardly differ tell nothing: no large scale for them
        return torch.zeros_like(rewards) if scale is None else found / max(scale, MIN_REWARD_STD)

    def _fake_term(self, turn: Turn, adversarial: bool) -> Tensor:
        """What the backward network learns from sampled pairs, summed over sources, averaged over samples."""
        k, reverse = self.sampling.num_samples, turn.reverse
        with torch.no_grad():
            noise = self._noise(turn.model)
            rollout = roll_out(turn.model, turn.batch, self.sampling, turn.step.update, noise, score=False)
        log_q = backward_log_likelihood(turn.model, rollout.samples.tokens, reverse, self.pad)
        if adversarial:
            mask = reverse["target"].ne(self.pad).repeat_interleave(k, 0)
            terms = fake_loss(log_q, mask, str(self.cfg.fake_loss), self.cfg.fake_margin)
            if str(self.cfg.cosine_multiplier) != "none":
                terms = self.multiplier(turn.model, turn.batch, rollout) * terms
        else:  # it maximises the same bound as the forward network
            terms = -log_q.sum(1)
        turn.log.update(backward_nll_fake=-log_q.detach().sum(), backward_nll_fake_tokens=k * reverse["ntokens"])
        turn.log.update(sample_sums(rollout, turn.batch, self.sampling))
        return terms.view(-1, k).mean(1).sum()

    def _noise(self, model: PairedModel) -> bool:
        return model.latent_noise is not None and self.game.noise

    # ------------------------------------------------------------------ logging

    def _log_rewards(self, turn: Turn, rewards: Tensor) -> None:
        total = rewards.double()
        turn.log.update(
            reward_count=rewards.numel(),
            **{f"rewards_of_{turn.step.phase}": 1},
            reward_sum=total.sum(),
            reward_square=total.pow(2).sum(),
            baseline_sum=(turn.step.reward_mean or 0.0) * rewards.numel(),
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Log]) -> None:
        """Turn the workers' sums into the logged ratios."""
        log_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
