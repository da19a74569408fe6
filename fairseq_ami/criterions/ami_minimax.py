"""``ami_minimax``: the objective of each phase of the game (AMI equations 4, 10 to 13, 15, 20)."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from torch import Tensor

from fairseq_ami.criterions.ami_config import PLAYERS, AMIMinimaxConfig
from fairseq_ami.criterions.ami_infomax import sentence_information
from fairseq_ami.criterions.ami_report import log_metrics
from fairseq_ami.criterions.ami_validation import evaluate_pair
from fairseq_ami.data import reverse_sample
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import Rollout, SamplerSettings, backward_log_likelihood, roll_out, sample_sums
from fairseq_ami.modules import dropout_off
from fairseq_ami.objectives import (
    advantages,
    average_word,
    cosine_multiplier,
    fake_loss,
    label_smoothed_nll,
    policy_loss,
)

MIN_REWARD_STD = 0.01  # nats a source token


@dataclass(frozen=True)
class Step:
    """What the criterion is told about the update.

    Attributes:
        phase: ``pretrain``, ``noise``, ``forward`` or ``backward``.
        update: number of the update.
        reward_mean: running mean of this phase's rewards, None before the first.
        reward_std: their running spread, None before the first.
        advantage_std: running spread of what the baseline leaves of them, None before the first.
    """

    phase: str
    update: int
    reward_mean: Optional[float] = None
    reward_std: Optional[float] = None
    advantage_std: Optional[float] = None


def word_counts(dictionary: Any, skip: Sequence[int]) -> Tensor:
    """How often each symbol stands in the text, shape (vocabulary,); all alike where the dictionary does not say."""
    counts = torch.tensor(dictionary.count, dtype=torch.float32)
    counts[list(skip)] = 0.0
    told = counts[dictionary.nspecial :].sum() > 0
    return counts if told else torch.ones(len(dictionary)).index_fill(0, torch.tensor(skip), 0.0)


@register_criterion("ami_minimax", dataclass=AMIMinimaxConfig)
class AMIMinimax(FairseqCriterion):
    """One scalar loss for the player whose phase it is, sums over the batch, and its denominator.

    Denominators: target tokens in the forward phase and in pretraining, source tokens in the backward
    phase, sentences in the noise phase. Every term is a sum, so gradients of micro-batches and workers add up.
    """

    def __init__(self, cfg: AMIMinimaxConfig, task: Any):
        super().__init__(task)
        self.cfg = cfg
        self.objective = str(cfg.objective)
        self._check()
        target = task.target_dictionary
        self.pad, self.eos = target.pad(), target.eos()
        self.not_words = (target.pad(), target.eos(), target.bos())
        separators = getattr(task, "separators", ())
        self.word_counts = word_counts(target, (*self.not_words, *separators)) if cfg.center_cosine else None
        banned = (target.pad(), target.bos(), *separators)
        policy = Policy(banned, cfg.sample_temperature, cfg.sample_topk, cfg.sample_topp)
        self.sampling = SamplerSettings(
            policy, str(cfg.sampler), cfg.num_samples, cfg.sample_max_len_a, cfg.sample_max_len_b, cfg.seed,
            self.pad, self.eos,
        )  # fmt: skip
        mmi = self.objective == "mmi"
        self.real_weight = cfg.real_weight if cfg.real_weight is not None else (0.0 if mmi else 1.0)
        self.adversarial_weight = (
            cfg.adversarial_weight if cfg.adversarial_weight is not None else (1.0 if mmi else 0.1)
        )

    def _check(self) -> None:
        cfg = self.cfg
        if cfg.num_samples < 1:
            raise AMIError("--num-samples must be at least 1")
        if str(cfg.baseline) == "leave-one-out" and cfg.num_samples < 2 and self.objective != "mle":
            raise AMIError(
                "--baseline leave-one-out compares the samples of a source with one another: pass --num-samples 2 or "
                "more, or --baseline running-mean"
            )
        if cfg.sample_temperature <= 0 or not 0 < cfg.sample_topp <= 1 or cfg.sample_topk < 0:
            raise AMIError("--sample-temperature must be positive, --sample-topp in (0, 1], --sample-topk 0 or more")
        if str(cfg.sampler) == "teacher-forced" and (cfg.sample_topk or cfg.sample_topp < 1):
            raise AMIError("--sample-topk and --sample-topp belong to --sampler ancestral")
        if cfg.infomax_weight and self.objective in ("mle", "mmi-fixed"):
            raise AMIError(f"--infomax-weight trains the backward network: not with --objective {self.objective}")

    @property
    def players(self) -> frozenset:
        """Who takes part in this objective."""
        return PLAYERS[self.objective]

    def forward(
        self, model: Any, sample: Dict[str, Any], step: Optional[Step] = None, common: Optional[List[Tensor]] = None
    ) -> Tuple[Tensor, int, Dict[str, Any]]:
        """The phase's loss, or without *step* the validation of both networks.

        Args:
            model: the paired model.
            sample: a fairseq batch of the forward direction.
            step: the phase and its reward statistics.
            common: weights of the frozen common Q of validation.

        Returns:
            loss (summed), sample size, and sums to log.
        """
        reverse = reverse_sample(sample, self.pad, self.eos)
        log: Dict[str, Any] = {
            "ntokens": sample["ntokens"],
            "nsentences": len(sample["id"]),
            "source_tokens": reverse["ntokens"],
        }
        if step is None:
            sampling = None if self.cfg.no_valid_bound else self.sampling
            loss, size = evaluate_pair(model, sample, reverse, sampling, self._multiplier, common, log)
        else:
            if self.cfg.infomax_weight and model.infomax is None:
                raise AMIError("--infomax-weight needs the heads of the backward network: pass --infomax-dim as well")
            phase = getattr(self, f"_{step.phase}_phase")
            loss, size = phase(model, sample, reverse, step, log)
        log.update(loss=loss.detach(), sample_size=size)
        return loss, size, log

    # ------------------------------------------------------------------ phases

    def _pretrain_phase(self, model: Any, sample: Dict, reverse: Dict, step: Step, log: Dict) -> Tuple[Tensor, int]:
        loss = self._likelihood(model, model.forward_model, sample, "forward_nll", log)
        loss = loss + self._likelihood(model, model.backward_model, reverse, "backward_nll_real", log)
        return loss + self._infomax_term(model, sample, reverse, log), sample["ntokens"]

    def _forward_phase(self, model: Any, sample: Dict, reverse: Dict, step: Step, log: Dict) -> Tuple[Tensor, int]:
        """w_mle log P(T|S) + E[(K r - b) log P(T'|S)] (equations 12 and 20)."""
        loss = self.cfg.mle_weight * self._likelihood(model, model.forward_model, sample, "forward_nll", log)
        if self.objective != "mle" and self.cfg.policy_weight != 0:
            use_multiplier = str(self.cfg.cosine_multiplier) == "both" and self.objective == "ami"
            term, _ = self._policy_term(model, sample, reverse, step, use_multiplier, log)
            loss = loss + self.cfg.policy_weight * term
        return loss, sample["ntokens"]

    def _noise_phase(self, model: Any, sample: Dict, reverse: Dict, step: Step, log: Dict) -> Tuple[Tensor, int]:
        """lambda ||delta|| + E[(r - b) log P(T'|S, delta)] (equation 15)."""
        term, rollout = self._policy_term(model, sample, reverse, step, False, log)
        norm = rollout.noise_norm
        cap = self.cfg.noise_norm_cap
        size = norm.clamp(max=cap) if cap > 0 else norm
        return term - self.cfg.noise_lambda * size.mean(1).sum(), len(sample["id"])

    def _backward_phase(self, model: Any, sample: Dict, reverse: Dict, step: Step, log: Dict) -> Tuple[Tensor, int]:
        """log Q(S|T) - w E[K log Q(S|T')] (equations 10, 11, 13); in MMI E[log Q(S|T')] (equation 4)."""
        loss = self._infomax_term(model, sample, reverse, log)
        if self.real_weight != 0:
            nll = self._likelihood(model, model.backward_model, reverse, "backward_nll_real", log)
            loss = loss + self.real_weight * nll
        if self.objective != "mle" and self.adversarial_weight != 0:
            with torch.no_grad():
                rollout = roll_out(model, sample, self.sampling, step.update, self._noise(model), score=False)
            log_q = backward_log_likelihood(model, rollout.samples.tokens, reverse, self.pad)
            loss = loss + self.adversarial_weight * self._fake_term(model, sample, reverse, rollout, log_q, log)
        return loss, reverse["ntokens"]

    # ------------------------------------------------------------------ terms

    def _likelihood(self, model: Any, network: Any, batch: Dict, name: str, log: Dict) -> Tensor:
        """Label-smoothed negative log-likelihood of real pairs, summed."""
        target = batch["target"]
        words = target.ne(self.pad)
        log_probs = torch.log_softmax(model.run_where(network, batch["net_input"], words).float(), dim=-1)
        loss, nll = label_smoothed_nll(log_probs, target[words], self.cfg.label_smoothing, self.pad)
        log[name] = nll.detach()
        log[f"{name}_tokens"] = batch["ntokens"]
        return loss

    def _policy_term(
        self, model: Any, sample: Dict, reverse: Dict, step: Step, use_multiplier: bool, log: Dict
    ) -> Tuple[Tensor, Rollout]:
        """Score-function term, summed over sources, averaged over the samples of each."""
        rollout = roll_out(model, sample, self.sampling, step.update, self._noise(model), score=True)
        with torch.no_grad(), dropout_off(model.backward_model):
            log_q = backward_log_likelihood(model, rollout.samples.tokens, reverse, self.pad)
            log_q = log_q.view(len(sample["id"]), -1, log_q.size(1)).sum(2)  # (batch, k)
            lengths = reverse["target"].ne(self.pad).sum(1, keepdim=True)
            rewards = log_q / lengths
            multiplier = self._multiplier(model, sample, rollout).view_as(rewards)
            if use_multiplier:
                rewards = multiplier * rewards
            if self.cfg.infomax_weight:
                rewards = rewards + self.cfg.infomax_weight * self._infomax_reward(model, rollout, log)
        self._log_rewards(rewards, log_q, multiplier, step, log)
        log.update(sample_sums(rollout, sample, self.sampling))
        return policy_loss(rollout.log_prob, self._advantages(rewards, step, log)).sum(), rollout

    def _infomax_term(self, model: Any, sample: Dict, reverse: Dict, log: Dict) -> Tensor:
        """InfoMax-GAN's bound on real T: nats a word, weighed against log Q(S|T) a token of S."""
        if not self.cfg.infomax_weight:
            return torch.zeros((), device=sample["target"].device)
        sums, words = sentence_information(model, sample["target"], self.pad, self.not_words)
        log["infomax_real_sum"], log["infomax_real_words"] = sums.detach().sum(), words.sum()
        return -self.cfg.infomax_weight * reverse["ntokens"] * sums.sum() / words.sum().clamp(min=1)

    def _infomax_reward(self, model: Any, rollout: Rollout, log: Dict) -> Tensor:
        """The same of T', nats a word of each sample, shape (batch, k). Samples of one source are alike: only those
        of different sources are contrasted."""
        tokens, k = rollout.samples.tokens, self.sampling.num_samples
        found = [sentence_information(model, tokens[j::k], self.pad, self.not_words) for j in range(k)]
        sums, words = (torch.stack(parts, 1) for parts in zip(*found))
        log["infomax_fake_sum"], log["infomax_fake_words"] = sums.sum(), words.sum()
        return sums / words.clamp(min=1)

    def _advantages(self, rewards: Tensor, step: Step, log: Dict) -> Tensor:
        """Baseline and scale. Statistics of earlier updates only: an update without those that it needs
        gathers them and learns nothing, instead of coupling the samples of a batch."""
        running = str(self.cfg.baseline) == "running-mean"
        if running and step.reward_mean is None:
            return torch.zeros_like(rewards)
        found = advantages(rewards, step.reward_mean if running else None)
        log.update(advantage_sum=found.double().sum(), advantage_square=found.double().pow(2).sum())
        kind = str(self.cfg.reward_scale)
        if kind == "none":
            return found
        spread = step.reward_std if kind == "running-std" else step.advantage_std
        # rewards that hardly differ tell nothing: no large scale for them
        return torch.zeros_like(rewards) if spread is None else found / max(spread, MIN_REWARD_STD)

    def _fake_term(self, model: Any, sample: Dict, reverse: Dict, rollout: Rollout, log_q: Tensor, log: Dict) -> Tensor:
        k = self.sampling.num_samples
        mask = reverse["target"].ne(self.pad).repeat_interleave(k, 0)
        if self.objective == "ami":
            terms = fake_loss(log_q, mask, str(self.cfg.fake_loss), self.cfg.fake_margin)
            if str(self.cfg.cosine_multiplier) != "none":
                terms = self._multiplier(model, sample, rollout) * terms
        else:  # the backward network of MMI maximises the same bound
            terms = -log_q.sum(1)
        log["backward_nll_fake"] = -log_q.detach().sum()
        log["backward_nll_fake_tokens"] = k * reverse["ntokens"]
        log.update(sample_sums(rollout, sample, self.sampling))
        return terms.view(-1, k).mean(1).sum()

    def _multiplier(self, model: Any, sample: Dict, rollout: Rollout) -> Tensor:
        """K(T') of each sample with the forward network's target embeddings, shape (batch * k,)."""
        tokens = rollout.samples.tokens
        k = tokens.size(0) // sample["target"].size(0)
        embedding = model.forward_model.decoder.embed_tokens.weight
        center = None if self.word_counts is None else average_word(embedding, self.word_counts)
        return cosine_multiplier(sample["target"].repeat_interleave(k, 0), tokens, embedding, self.not_words, center)

    def _noise(self, model: Any) -> bool:
        return model.latent_noise is not None and self.objective == "ami"

    # ------------------------------------------------------------------ logging

    def _log_rewards(self, rewards: Tensor, log_q: Tensor, multiplier: Tensor, step: Step, log: Dict) -> None:
        total = rewards.double()
        log.update(
            reward_count=rewards.numel(),
            reward_sum=total.sum(),
            reward_square=total.pow(2).sum(),
            multiplier_sum=multiplier.sum(),
            log_q_sum=log_q.sum(),
            baseline_sum=(step.reward_mean or 0.0) * rewards.numel(),
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Turn the workers' sums into the logged ratios."""
        log_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
