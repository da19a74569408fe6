"""``ami_translation``: parallel data for a forward and a backward network that take turns."""

import copy
import logging
from dataclasses import dataclass, field, replace
from typing import Any, FrozenSet, List, Mapping, Optional, Sequence, Tuple, Type

from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset, LanguagePairDataset
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import DictConfig
from torch import Tensor

from fairseq_ami.criterions.ami_minimax import AMIMinimax
from fairseq_ami.criterions.ami_turn import Step
from fairseq_ami.data import NumberedSentences, SeededOrder, WithUnlabelled, load_unlabelled
from fairseq_ami.data.unlabelled import UnlabelledSettings
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.noisy_search import NoisySearch
from fairseq_ami.models.pair_settings import mirrored
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.optim import AMIPhased, check_options
from fairseq_ami.optim.phased_config import REMEDIES
from fairseq_ami.schedules import PLAYERS, PRETRAIN, PhaseSchedule, parse_phase_cycle
from fairseq_ami.training import start
from fairseq_ami.training.phased_task import PhasedTask
from fairseq_ami.training.refused import OWN_RATES
from fairseq_ami.training.reward_statistics import RewardStatistics
from fairseq_ami.training.sample_log import SampleLog, SampleLogSettings
from fairseq_ami.training.settings import RunSettings, check_settings
from fairseq_ami.types import UNLABELLED, Arguments, Batch, Hypotheses, Log, Network, Search

logger = logging.getLogger(__name__)


@dataclass
class AMITranslationConfig(TranslationConfig, UnlabelledSettings, SampleLogSettings, RunSettings):
    pretrain_updates: int = field(
        default=0, metadata={"help": "updates of maximum likelihood on both networks before anything else"}
    )
    noise_updates: int = field(
        default=0, metadata={"help": "updates of the noise network alone before the first cycle (the paper: 5000)"}
    )
    phase_cycle: str = field(
        default="noise=4,forward=8,backward=8",
        metadata={"help": "who plays for how many updates, in turn (the paper: noise=5000,forward=35,backward=10000)"},
    )
    latent_noise_draws: int = field(
        default=0,
        metadata={
            "help": "draws of the latent noise under which each source is decoded, for n-best lists; 0: no noise"
        },
    )


@register_task("ami_translation", dataclass=AMITranslationConfig)
class AMITranslation(PhasedTask, TranslationTask):
    """fairseq's translation task over a :class:`PairedModel`. Orchestration only: which player's turn it
    is, what the criterion is told, what is stepped and counted."""

    cfg: AMITranslationConfig
    criterion_class = AMIMinimax
    criterion_flag = "ami_minimax"

    _criterion: Optional[AMIMinimax]

    def __init__(self, cfg: AMITranslationConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        super().__init__(cfg, src_dict, tgt_dict)
        self.schedule: Optional[PhaseSchedule] = None
        self._model_players: FrozenSet[str] = frozenset()
        self._resumed_objective: Optional[str] = None
        self._to_check: Tuple[str, ...] = ()
        self._longest_source = cfg.max_source_positions
        self._asked: Optional[NumberedSentences] = None  # what fairseq-interactive decodes
        self._asked_before = 0

    # ------------------------------------------------------------------ what another kind of data changes

    @property
    def backward_languages(self) -> Tuple[str, str]:
        """What the backward network reads and writes."""
        return self.cfg.target_lang, self.cfg.source_lang

    @property
    def separators(self) -> Tuple[int, ...]:
        """Symbols that stand between sentences and that no network may write."""
        return ()

    def limit_backward(self, network: Network) -> None:
        """Let batches bring no more than *network*, a backward one, can read and write: here the pair sees to it."""

    def reversed(self) -> "AMITranslation":
        """The task of the other network of the pair: its languages, the dictionaries exchanged.

        The limits are exchanged as well where it reads what this one writes; the networks of a dialogue share theirs.
        """
        cfg = copy.deepcopy(self.cfg)
        cfg.source_lang, cfg.target_lang = self.other_languages
        if mirrored((self.cfg.source_lang, self.cfg.target_lang), self.other_languages):
            cfg.max_source_positions, cfg.max_target_positions = self.max_positions()[::-1]
        return type(self)(cfg, self.target_dictionary, self.source_dictionary)

    @property
    def other_languages(self) -> Tuple[str, str]:
        """What the network of the other direction reads and writes."""
        return self.backward_languages

    # ------------------------------------------------------------------ data

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        super().load_dataset(split, epoch, combine, **kwargs)
        pairs = self._prepared(self.datasets[split])
        if self.cfg.unlabelled and split == self.cfg.train_subset and self._criterion is not None:  # it is for training
            pairs = self._with_unlabelled(pairs, epoch)
        self.datasets[split] = SeededOrder(pairs, self.cfg.seed)

    def _prepared(self, loaded: LanguagePairDataset) -> LanguagePairDataset:
        """Sentences as the networks are to see them, of those that fairseq has loaded."""
        return loaded

    def _with_unlabelled(self, pairs: LanguagePairDataset, epoch: int) -> WithUnlabelled:
        """The training set with the sentences of ``--unlabelled``.

        Raises:
            AMIError: files or a ratio that cannot be used.
        """
        source, target = self.cfg.source_lang, self.cfg.target_lang
        folder = utils.split_paths(self.cfg.data)[0]
        sentences = load_unlabelled(folder, str(self.cfg.unlabelled), source, target, self.source_dictionary)
        longest = min(self.cfg.max_source_positions, self._longest_source)
        return WithUnlabelled(
            pairs, self._prepared(sentences), self.cfg.unlabelled_ratio, self.cfg.seed, epoch, int(longest)
        )

    # ------------------------------------------------------------------ building

    def build_model(self, cfg: Arguments, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the pair; when training, resume or take over the pretrained networks.

        Raises:
            AMIError: settings, checkpoints or languages that do not fit.
        """
        resuming = None
        if not from_checkpoint:
            check_settings(self.cfg, OWN_RATES)
            self._check_own_settings()
            resuming = start.find_checkpoint(self.cfg)
            self._resumed_objective = start.prepare(cfg, self.cfg, list(self.backward_languages), resuming)
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, PairedModel):
            if from_checkpoint:
                return model  # a plain network, decoded with this task
            raise AMIError(f"the task {self.cfg._name} needs a pair of networks: --arch ami_transformer or ami_lstm")
        if not from_checkpoint and "forward" not in model.player_networks():
            raise AMIError(f"the task {self.cfg._name} has no turns for this --arch: pass --task dialog_gan")
        if not from_checkpoint and resuming is None:
            model.load_pretrained(cfg)
            self._to_check = start.pretrained(cfg)
            start.check_finetuning(model, cfg, self.cfg.finetune_from_model)
        self._model_players = frozenset(model.player_networks())
        self._longest_source = model.max_positions()[0]
        return model

    def _check_own_settings(self) -> None:
        """Before anything is built, so that a refused run leaves nothing behind."""
        if not self.cfg.unlabelled and self.cfg.unlabelled_ratio != AMITranslationConfig.unlabelled_ratio:
            raise AMIError("--unlabelled-ratio is for the sentences of --unlabelled: name them, or leave it out")
        if self.cfg.log_samples < 0:
            raise AMIError("--log-samples must not be negative")

    def build_criterion(self, cfg: DictConfig, from_checkpoint: bool = False) -> FairseqCriterion:
        criterion = super().build_criterion(cfg, from_checkpoint)
        if self._criterion is not None:
            start.check_objective(self._resumed_objective, str(cfg.objective))
            self.schedule = PhaseSchedule(
                tuple(parse_phase_cycle(self.cfg.phase_cycle)),
                self._criterion.players & self._model_players,
                self.cfg.pretrain_updates,
                self.cfg.noise_updates,
            )
            logger.info("phases: %s", self.schedule)
        return criterion

    def build_generator(
        self,
        models: Sequence[BaseFairseqModel],
        args: Arguments,
        seq_gen_cls: Optional[Type[SequenceGenerator]] = None,
        **kwargs: Any,
    ) -> Search:
        """fairseq's generator; with ``--latent-noise-draws`` one that searches under several noises.

        Raises:
            AMIError: noise for references that are only scored.
        """
        generator = super().build_generator(models, args, seq_gen_cls, **kwargs)
        if self.cfg.latent_noise_draws > 0:
            if getattr(args, "score_reference", False):
                raise AMIError("--score-reference scores without noise: leave --latent-noise-draws out")
            return NoisySearch(generator, models, self.cfg.latent_noise_draws, self.cfg.seed)
        return generator

    def build_dataset_for_inference(
        self, src_tokens: List[Tensor], src_lengths: Sequence[int], constraints: Optional[Tensor] = None
    ) -> FairseqDataset:
        dataset = super().build_dataset_for_inference(src_tokens, src_lengths, constraints)
        if self.cfg.latent_noise_draws < 1:
            return dataset
        self._asked = NumberedSentences(dataset, self._asked_before)
        self._asked_before += len(src_tokens)
        return self._asked

    def inference_step(
        self, generator: Search, models: Sequence[BaseFairseqModel], sample: Mapping[str, Any], **kwargs: Any
    ) -> Hypotheses:
        """fairseq's; a sentence of fairseq-interactive gets the number that its noise depends on."""
        if self._asked is not None and "id" not in sample:
            sample = {**sample, "id": self._asked.next_numbers()}
        return super().inference_step(generator, models, sample, **kwargs)

    # ------------------------------------------------------------------ training

    def _start(self, optimizer: AMIPhased, model: PairedModel) -> None:
        movers = PhaseSchedule.movers(PRETRAIN) & self._model_players
        pretrained = movers if self.schedule.pretrain_updates else frozenset()
        check_options(optimizer.settings, self.schedule.players, pretrained, frozenset(optimizer.optimizers))
        self._sample_log = SampleLog(self.cfg.log_samples, self.cfg.save_dir)
        neutral = str(self._criterion.cfg.reward_length) == "neutral"
        self._statistics = RewardStatistics(optimizer, bool(self.cfg.unlabelled), neutral)
        optimizer.set_box(self._criterion.game.box)

    def _phase(self, optimizer: AMIPhased, update_num: int) -> str:
        return self.schedule.phase(update_num)

    def _players(self, phase: str) -> FrozenSet[str]:
        return PhaseSchedule.movers(phase)

    def _before_loss(self, optimizer: AMIPhased, model: PairedModel, sample: Batch, phase: str) -> None:
        anchored = self._criterion.cfg.anchor_weight != 0
        begun = any(count for name, count in optimizer.counts.items() if name != PRETRAIN)
        if anchored and begun and optimizer.origin is None:
            raise AMIError(
                "--anchor-weight: the run to resume was started without it, and where its game began is not kept: "
                "start a new run from its checkpoint with --restore-file, --reset-optimizer and another --save-dir"
            )
        if phase != PRETRAIN:
            optimizer.capture_anchor(forward=anchored)
        if self._to_check:
            start.check_networks(model, self._criterion, sample, self._to_check)
            self._to_check = ()

    def _step(self, optimizer: AMIPhased, phase: str, update_num: int) -> Step:
        """The phase, and what its earlier updates tell about its rewards."""
        origin = optimizer.origin if self._criterion.cfg.anchor_weight != 0 else None
        step = self._statistics.step(phase, update_num, origin)
        other = self._statistics.step(phase, update_num, origin, UNLABELLED) if self.cfg.unlabelled else None
        return replace(step, unlabelled=other, shown=self._sample_log.collect(update_num))

    def _track(self, optimizer: AMIPhased, phase: str, log: Log) -> None:
        self._statistics.add(phase, log)
        self._sample_log.flush(phase)

    def _remedies(self, phase: str, update_num: int) -> List[str]:
        before = self.schedule.phase(max(update_num - 1, 0))  # who made the weights of this update
        return [REMEDIES[name] for name in dict.fromkeys([before, phase])]

    # ------------------------------------------------------------------ validation and logs

    def _judged_updates(self, optimizer: AMIPhased) -> int:
        return optimizer.counts["forward"] + optimizer.counts[PRETRAIN]

    def valid_step(
        self, sample: Batch, model: BaseFairseqModel, criterion: FairseqCriterion, **kwargs: Any
    ) -> Tuple[Tensor, int, Log]:
        common = None if self._optimizer is None else self._optimizer.anchor or []

        def with_common(model: BaseFairseqModel, sample: Batch) -> Tuple[Tensor, int, Log]:
            return (
                criterion(model, sample, common=common)
                if isinstance(criterion, AMIMinimax)
                else criterion(model, sample)
            )

        return super().valid_step(sample, model, with_common, **kwargs)

    def reduce_metrics(self, logging_outputs: List[Log], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if self._optimizer is not None and any("phase" in log for log in logging_outputs):
            order = (PRETRAIN, *PLAYERS)
            metrics.log_scalar("phase", order.index(self._optimizer.phase), weight=0, round=0)
