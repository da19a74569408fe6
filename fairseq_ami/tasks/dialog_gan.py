"""``dialog_gan``: a generator of replies and a discriminator that take turns (Li et al., EMNLP 2017)."""

import logging
from dataclasses import dataclass, field
from typing import Any, FrozenSet, List, Optional, Tuple

from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import DictConfig

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.criterions.dialog_gan import DISCRIMINATOR, PHASES, DialogGANLoss
from fairseq_ami.errors import AMIError
from fairseq_ami.models.dialog_discriminator import SIZES
from fairseq_ami.models.dialog_gan import DialogGAN
from fairseq_ami.models.pair_settings import set_args
from fairseq_ami.models.pretrained import check_languages
from fairseq_ami.optim import AMIPhased, check_options
from fairseq_ami.optim.phased_config import REMEDIES
from fairseq_ami.schedules import PhaseSchedule, parse_phase_cycle
from fairseq_ami.training import start
from fairseq_ami.training.dialogue_task import DialogueConfig, DialogueTask
from fairseq_ami.training.phased_task import PhasedTask
from fairseq_ami.training.refused import GAN_RATES
from fairseq_ami.training.reward_statistics import RewardStatistics
from fairseq_ami.training.settings import check_settings
from fairseq_ami.types import Arguments, Batch, Log

logger = logging.getLogger(__name__)

SCHEDULE = ("phase_cycle", "discriminator_updates")


@dataclass
class DialogGANTaskConfig(DialogueConfig):
    discriminator_updates: int = field(
        default=0, metadata={"help": "updates of the discriminator alone before the first cycle: its pretraining"}
    )
    phase_cycle: str = field(
        default="discriminator=5,generator=1,teacher=1",
        metadata={
            "help": "who plays for how many updates, in turn; teacher is maximum likelihood of the generator on human "
            "replies"
        },
    )


@register_task("dialog_gan", dataclass=DialogGANTaskConfig)
class DialogGANTask(PhasedTask, DialogueTask):
    """Histories and replies for a :class:`DialogGAN`. Orchestration only: whose turn it is, what is told and counted.

    Decoding is that of all tasks of dialogue.
    """

    cfg: DialogGANTaskConfig
    criterion_class = DialogGANLoss
    criterion_flag = "dialog_gan"

    _criterion: Optional[DialogGANLoss]

    def __init__(self, cfg: DialogGANTaskConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        super().__init__(cfg, src_dict, tgt_dict)
        self.schedule: Optional[PhaseSchedule] = None
        self._to_check: Tuple[str, ...] = ()

    # ------------------------------------------------------------------ building

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        super().load_dataset(split, epoch, combine, **kwargs)
        self._cut_histories(split)

    def build_model(self, cfg: Arguments, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build generator and discriminator; when training, resume or start from a trained generator.

        Raises:
            AMIError: settings, checkpoints or languages that do not fit.
        """
        resuming = None
        if not from_checkpoint:
            check_settings(self.cfg, GAN_RATES)
            resuming = start.find_checkpoint(self.cfg)
            self._prepare(cfg, resuming)
        model = super().build_model(cfg, from_checkpoint)
        if not from_checkpoint:
            if not isinstance(model, DialogGAN):
                raise AMIError("the task dialog_gan needs a generator and a discriminator: --arch dialog_gan")
            if resuming is None:
                model.load_pretrained(cfg)
                self._to_check = ("generator",)
                start.check_finetuning(model, cfg, self.cfg.finetune_from_model)
        self._know_model(model, from_checkpoint)
        return model

    def _prepare(self, cfg: Arguments, resuming: Optional[str]) -> None:
        """Take over the generator's settings from the checkpoint to resume, or check the one to start from."""
        if resuming is None:
            if getattr(cfg, "generator_checkpoint", None):
                check_languages(cfg.generator_checkpoint, "generator", [self.cfg.source_lang, self.cfg.target_lang])
            return
        state = read_checkpoint(resuming, "checkpoint to resume from", lazily=True)
        saved = part_of(state, "model")
        if "generator_network" not in saved:
            raise AMIError(f"{resuming} is no checkpoint of a dialog_gan: pass another --save-dir or --restore-file")
        start.check_same_model(saved, cfg, resuming, SIZES)
        names = ("network_settings", "generator_network", "pair_languages", "backward_languages")
        set_args(cfg, **{name: saved[name] for name in names})
        start.check_schedule(state, self.cfg, resuming, SCHEDULE)

    def build_criterion(self, cfg: DictConfig, from_checkpoint: bool = False) -> FairseqCriterion:
        criterion = super().build_criterion(cfg, from_checkpoint)
        if self._criterion is not None:
            cycle = tuple(parse_phase_cycle(self.cfg.phase_cycle, PHASES))
            self.schedule = PhaseSchedule(
                cycle, frozenset(PHASES), alone_updates=self.cfg.discriminator_updates, alone=DISCRIMINATOR
            )
            logger.info("phases: %s", self.schedule)
        return criterion

    # ------------------------------------------------------------------ training

    def _start(self, optimizer: AMIPhased, model: DialogGAN) -> None:
        phases = {name for name, _ in self.schedule.active_cycle}
        if self.cfg.discriminator_updates:
            phases.add(DISCRIMINATOR)
        players = frozenset().union(*map(self._criterion.movers, phases))
        check_options(optimizer.settings, players, others=frozenset(optimizer.optimizers))
        self._statistics = RewardStatistics(optimizer, unlabelled=False, neutral=False)

    def _phase(self, optimizer: AMIPhased, update_num: int) -> str:
        return self.schedule.phase(update_num)

    def _players(self, phase: str) -> FrozenSet[str]:
        return self._criterion.movers(phase)

    def _before_loss(self, optimizer: AMIPhased, model: DialogGAN, sample: Batch, phase: str) -> None:
        if self._to_check:
            start.check_networks(model, self._criterion, sample, self._to_check)
            self._to_check = ()

    def _step(self, optimizer: AMIPhased, phase: str, update_num: int) -> Step:
        return self._statistics.step(phase, update_num, None)

    def _track(self, optimizer: AMIPhased, phase: str, log: Log) -> None:
        self._statistics.add(phase, log)

    def _judged_updates(self, optimizer: AMIPhased) -> int:
        return optimizer.counts["generator"]

    def _remedies(self, phase: str, update_num: int) -> List[str]:
        before = self.schedule.phase(max(update_num - 1, 0))  # who made the weights of this update
        return [REMEDIES[name] for name in dict.fromkeys([before, phase])]

    def reduce_metrics(self, logging_outputs: List[Log], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if self._optimizer is not None and any("phase" in log for log in logging_outputs):
            metrics.log_scalar("phase", 1 + PHASES.index(self._optimizer.phase), weight=0, round=0)
