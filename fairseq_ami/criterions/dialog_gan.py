"""``dialog_gan``: adversarial REINFORCE for dialogue (Li et al., EMNLP 2017), one loss per phase."""

from dataclasses import replace
from typing import Callable, Dict, FrozenSet, List, Optional, Protocol, Tuple

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.data import Dictionary
from torch import Tensor, nn

from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.criterions.dialog_gan_config import DialogGANLossConfig, check_settings
from fairseq_ami.criterions.dialog_gan_report import log_gan_metrics
from fairseq_ami.criterions.dialog_gan_rewards import baselines, step_rewards
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import SamplerSettings, roll_out, sample_sums
from fairseq_ami.generation.searched import searched
from fairseq_ami.models.dialog_gan import DialogGAN
from fairseq_ami.modules import dropout_off, unwrapped
from fairseq_ami.objectives import discriminator_loss, policy_loss
from fairseq_ami.random_streams import VALIDATION_UPDATE, Stream, stream_keys, uniform
from fairseq_ami.types import Batch, Log

DISCRIMINATOR, GENERATOR, TEACHER = "discriminator", "generator", "teacher"
PHASES = (DISCRIMINATOR, GENERATOR, TEACHER)
MIN_ADVANTAGE_STD = 0.01  # of probabilities: rewards that hardly differ tell nothing


class WritingTask(Protocol):
    """A task of dialogue, as far as a criterion asks."""

    @property
    def target_dictionary(self) -> Dictionary: ...

    @property
    def separators(self) -> Tuple[int, ...]: ...


@register_criterion("dialog_gan", dataclass=DialogGANLossConfig)
class DialogGANLoss(FairseqCriterion):
    """The phases of the game, each a sum over the batch with its denominator.

    * ``discriminator``: cross-entropy of human replies against sampled ones; per history.
    * ``generator``: the score-function gradient of the expected reward, with a baseline; per history.
    * ``teacher``: cross-entropy of the human replies, as fairseq's ``cross_entropy``; per token.
    """

    def __init__(self, cfg: DialogGANLossConfig, task: WritingTask):
        super().__init__(task)
        self.cfg = cfg
        check_settings(cfg)
        self.symbols = symbols = task.target_dictionary
        self.never_written = (symbols.bos(), *task.separators)
        self.pad, self.eos = symbols.pad(), symbols.eos()
        policy = Policy((symbols.pad(), *self.never_written), cfg.sample_temperature, cfg.sample_topk, cfg.sample_topp)
        self.sampling = SamplerSettings(
            policy, "ancestral", cfg.num_samples, cfg.sample_max_len_a, cfg.sample_max_len_b, cfg.seed,
            self.pad, self.eos,
        )  # fmt: skip
        self.phases: Dict[str, Callable[[DialogGAN, Batch, Step, Log], Tuple[Tensor, int]]] = {
            DISCRIMINATOR: self._discriminator_phase,
            GENERATOR: self._generator_phase,
            TEACHER: self._teacher_phase,
        }

    def check_model(self, model: nn.Module) -> None:
        """Refuse a model without a discriminator.

        Raises:
            AMIError: with what to pass.
        """
        if not isinstance(unwrapped(model, DialogGAN), DialogGAN):
            raise AMIError("--criterion dialog_gan trains --arch dialog_gan")

    def movers(self, phase: str) -> FrozenSet[str]:
        """The players whose weights move in *phase*."""
        if phase == GENERATOR and str(self.cfg.baseline) == "network":
            return frozenset({"generator", "baseline"})
        return frozenset({"discriminator" if phase == DISCRIMINATOR else "generator"})

    def forward(self, model: DialogGAN, sample: Batch, step: Optional[Step] = None) -> Tuple[Tensor, int, Log]:
        """The phase's loss, or without *step* the validation of both networks.

        Args:
            model: generator and discriminator.
            sample: a batch of histories and replies.
            step: the phase and its reward statistics.

        Returns:
            loss (summed), sample size, and sums to log.
        """
        log: Log = {"ntokens": sample["ntokens"], "nsentences": len(sample["id"])}
        if step is None:
            self.check_model(model)
            loss, size = self._validate(model, sample, log)
        else:
            loss, size = self.phases[step.phase](model, sample, step, log)
        log.update(loss=loss.detach(), sample_size=size)
        return loss, size, log

    # ------------------------------------------------------------------ phases

    def _discriminator_phase(self, model: DialogGAN, batch: Batch, step: Step, log: Log) -> Tuple[Tensor, int]:
        """-log D(x, y) / 2 - E[log (1 - D(x, y'))] / 2; with ``--step-rewards prefix`` of a random prefix of each."""
        return self._judged(model, batch, self.sampling, step.update, log), len(batch["id"])

    def _judged(self, model: DialogGAN, batch: Batch, sampling: SamplerSettings, update: int, log: Log) -> Tensor:
        with torch.no_grad():
            rollout = roll_out(model, batch, sampling, update, noise=False, score=False)
        k, human = sampling.num_samples, batch["target"]
        machine = self._some_searched(model, batch, rollout.samples.tokens, update)
        if str(self.cfg.step_rewards) == "prefix":
            keys = stream_keys(self.cfg.seed, update, Stream.PREFIX, batch["id"], k + 1).view(-1, k + 1)
            human, machine = self._prefix(human, keys[:, 0]), self._prefix(machine, keys[:, 1:].flatten())
        known = model.discriminator.read(batch["net_input"]["src_tokens"])
        real = model.discriminator.judge(known, human)
        fake = model.discriminator.judge(known.repeat_interleave(k, 0), machine).view(-1, k)
        loss = discriminator_loss(real, fake).sum()
        log.update(
            judged=len(real),
            discriminator_loss=loss.detach(),
            human_right=real.detach().gt(0).sum(dtype=torch.float64),
            machine_right=fake.detach().lt(0).sum(dtype=torch.float64) / k,
            **sample_sums(rollout, batch, sampling),
        )
        return loss

    def _some_searched(self, model: DialogGAN, batch: Batch, machine: Tensor, update: int) -> Tensor:
        """Replies of which those to a random ``--beam-share`` of the histories are those of beam search."""
        if not self.cfg.beam_share:
            return machine
        keys = stream_keys(self.cfg.seed, update, Stream.SEARCHED, batch["id"], 1)
        rows = (uniform(keys, 1).squeeze(1) < self.cfg.beam_share).nonzero().squeeze(1)
        if len(rows) == 0:
            return machine
        found = searched(model, batch, rows, self.symbols, self.never_written, self.sampling)
        k, width = len(machine) // len(batch["id"]), max(machine.size(1), found.size(1))
        machine = F.pad(machine, (0, width - machine.size(1)), value=self.pad).view(-1, k, width)
        machine[rows] = F.pad(found, (0, width - found.size(1)), value=self.pad).unsqueeze(1)
        return machine.flatten(0, 1)

    def _prefix(self, replies: Tensor, keys: Tensor) -> Tensor:
        """A prefix of each reply, of a length drawn uniformly from 1 to its whole length."""
        words = replies.ne(self.pad)
        kept = (uniform(keys, 1) * words.sum(1, keepdim=True)).floor()
        return replies.masked_fill(words.cumsum(1) - 1 > kept, self.pad)

    def _generator_phase(self, model: DialogGAN, batch: Batch, step: Step, log: Log) -> Tuple[Tensor, int]:
        """-sum over t of (Q(x, y_1..t) - b(x)) log p(y_t | x, y_1..t-1), the mean over the samples of a history."""
        k, size = self.sampling.num_samples, len(batch["id"])
        rollout = roll_out(model, batch, self.sampling, step.update, noise=False, score=True)
        rewards = step_rewards(model, batch, rollout, self.cfg, self.sampling, step.update, log)
        actions = rollout.samples.actions
        values = (rewards.sum(1) / actions.sum(1).clamp(min=1)).view(size, k)
        kind = str(self.cfg.baseline)
        baseline, baseline_loss = baselines(model, batch, values, kind, step.reward_mean or 0.0)
        advantage = (rewards.view(size, k, -1) - baseline.unsqueeze(2)).masked_fill(~actions.view(size, k, -1), 0.0)
        if kind == "running-mean" and step.reward_mean is None:  # the first update only gathers what it needs
            advantage = torch.zeros_like(advantage)
        log.update(sample_sums(rollout, batch, self.sampling))
        self._log_rewards(log, rewards, advantage, baseline, values, actions)
        loss = policy_loss(rollout.symbol_log_prob.view(size, k, -1), self._scaled(step, advantage)).sum()
        return self.cfg.policy_weight * loss + baseline_loss.sum(), size

    def _scaled(self, step: Step, advantage: Tensor) -> Tensor:
        if str(self.cfg.reward_scale) == "none":
            return advantage
        if step.advantage_std is None:
            return torch.zeros_like(advantage)
        return advantage / max(step.advantage_std, MIN_ADVANTAGE_STD)

    def _teacher_phase(self, model: DialogGAN, batch: Batch, step: Step, log: Log) -> Tuple[Tensor, int]:
        """-log p(y | x) of the human replies, with dropout."""
        nll = -model.log_likelihood(model.forward_model, batch["net_input"], batch["target"]).sum()
        log.update(teacher_nll=nll.detach(), teacher_tokens=batch["ntokens"])
        return nll, batch["ntokens"]

    # ------------------------------------------------------------------ validation and logs

    def _validate(self, model: DialogGAN, batch: Batch, log: Log) -> Tuple[Tensor, int]:
        """-log p of the human replies, and how the discriminator judges them and one sample of each history."""
        nll = -model.log_likelihood(model.forward_model, batch["net_input"], batch["target"]).sum()
        log["valid_nll"] = nll
        with torch.no_grad(), dropout_off(model.discriminator):
            self._judged(model, batch, replace(self.sampling, num_samples=1), VALIDATION_UPDATE, log)
        return nll, batch["ntokens"]

    @staticmethod
    def _log_rewards(
        log: Log, rewards: Tensor, advantage: Tensor, baseline: Tensor, values: Tensor, actions: Tensor
    ) -> None:
        rewards, advantage, count = rewards.double(), advantage.double(), actions.sum(1).view_as(values).double()
        log.update(
            reward_count=count.sum(),
            reward_sum=rewards.sum(),
            reward_square=rewards.pow(2).sum(),
            baseline_sum=(baseline.double() * count).sum(),
            baseline_square=((baseline - values).double().pow(2) * count).sum(),
            advantage_sum=advantage.sum(),
            advantage_square=advantage.pow(2).sum(),
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Log]) -> None:
        """Turn the workers' sums into the logged ratios."""
        log_gan_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
