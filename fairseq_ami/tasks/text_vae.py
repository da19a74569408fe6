"""``text_vae``: sentences of one language, generated from a latent variable."""

import logging
import os
from dataclasses import dataclass, field
from typing import Any, FrozenSet, List, NoReturn, Optional, Tuple, Union

from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from omegaconf import II, MISSING

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.criterions.vae_mine_elbo import VAEMineELBO, VAEStep
from fairseq_ami.data import load_sentences
from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.models.warm_start import start_from_encoder, start_from_language_model
from fairseq_ami.optim import AMIPhased, LaggingSchedule, Multiplier, RunningStatistics
from fairseq_ami.optim.lagging import JOINT, STEPPED
from fairseq_ami.optim.running_statistics import on_device
from fairseq_ami.schedules import Annealing, updates_in
from fairseq_ami.training import start
from fairseq_ami.training.phased_task import PhasedTask
from fairseq_ami.training.settings import RunSettings, check_complete, check_settings
from fairseq_ami.types import Arguments, Log

logger = logging.getLogger(__name__)

# settings that decide which weights there are, or what they mean
SIZES = (
    "latent_dim", "latent_scale", "embed_dim", "hidden_size", "ffn_dim", "num_layers", "attention_heads", "critic",
    "bow_hidden",
)  # fmt: skip
SWITCHES = ("latent_skip", "share_word_vectors", "encoder_bidirectional", "encoder_max_pooling")
CRITIC_SIZES = ("critic_features", "critic_hidden", "critic_layers")


@dataclass
class TextVAEConfig(FairseqDataclass, RunSettings):
    data: str = field(default=MISSING, metadata={"help": "folder that `fairseq-preprocess --only-source` wrote"})
    update_freq: List[int] = II("optimization.update_freq")
    skip_remainder_batch: bool = II("optimization.skip_remainder_batch")
    train_subset: str = II("dataset.train_subset")


@register_task("text_vae", dataclass=TextVAEConfig)
class TextVAETask(PhasedTask):
    """Language modelling with a latent variable. Orchestration only: what the criterion is told, who is stepped."""

    cfg: TextVAEConfig
    criterion_class = VAEMineELBO
    criterion_flag = "vae_mine_elbo"

    _criterion: Optional[VAEMineELBO]

    def __init__(self, cfg: TextVAEConfig, dictionary: Dictionary):
        super().__init__(cfg)
        self.dictionary = dictionary
        self._annealing: Optional[Annealing] = None
        self._train_batches: Optional[EpochBatchIterator] = None
        self._iw_start: Optional[int] = None

    @classmethod
    def setup_task(cls, cfg: TextVAEConfig, **kwargs: Any) -> "TextVAETask":
        """Read the dictionary.

        Raises:
            AMIError: no folder, or no dictionary in it.
        """
        check_complete(cfg)
        path = os.path.join(cfg.data, "dict.txt")
        if not os.path.isfile(path):
            raise AMIError(
                f"there is no {path}: make the data with `fairseq-preprocess --only-source --trainpref ... --validpref "
                "... --testpref ... --destdir ...`"
            )
        dictionary = Dictionary.load(path)
        logger.info("dictionary: %d types", len(dictionary))
        return cls(cfg, dictionary)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    # ------------------------------------------------------------------ building

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        """Read a split, with *combine* its further parts as well; empty lines are left out, with a warning."""
        path, training = os.path.join(self.cfg.data, split), split == self.cfg.train_subset
        self.datasets[split] = load_sentences(path, self.dictionary, training, self.cfg.seed, combine)

    def build_model(self, cfg: Arguments, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the model; when training, check the settings and what there is to resume.

        Raises:
            AMIError: settings or a checkpoint that do not fit.
        """
        new = False
        if not from_checkpoint:
            check_settings(self.cfg)
            resuming = start.find_checkpoint(self.cfg)
            new = resuming is None
            if not new:
                saved = part_of(read_checkpoint(resuming, "checkpoint to resume from", lazily=True), "model")
                if "latent_dim" not in saved:
                    raise AMIError(
                        f"{resuming} is no checkpoint of a text VAE: pass another --save-dir or --restore-file"
                    )
                sizes = SIZES if str(saved.get("critic")) == "none" else SIZES + CRITIC_SIZES
                start.check_same_model(saved, cfg, resuming, sizes)
                start.check_same_model(saved, cfg, resuming, SWITCHES, absent_is_off=True)
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, TextVAE):
            raise AMIError("the task text_vae needs --arch text_vae_lstm, text_vae_transformer or text_lm_lstm")
        if new and getattr(cfg, "language_model", None):
            start_from_language_model(model, cfg.language_model)
        if new and cfg.encoder_checkpoint:
            start_from_encoder(model, cfg.encoder_checkpoint, cfg)
        return model

    def build_generator(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not for this task.

        Raises:
            AMIError: always, with the verb that writes sentences.
        """
        raise AMIError(
            "fairseq-generate and -interactive need a source, which a text VAE has not: use fairseq-ami vae-sample"
        )

    def get_batch_iterator(self, dataset: FairseqDataset, *args: Any, **kwargs: Any) -> EpochBatchIterator:
        batches = super().get_batch_iterator(dataset, *args, **kwargs)
        if dataset is self.datasets.get(self.cfg.train_subset):
            self._train_batches = batches  # an annealing in epochs needs to know how long one is
        return batches

    # ------------------------------------------------------------------ training

    def _start(self, optimizer: AMIPhased, model: TextVAE) -> None:
        settings = self._criterion.cfg
        optimizer.track("exp_scores", RunningStatistics(settings.xi_decay))
        if settings.lagging:
            interval = settings.lagging_interval or self._one_epoch()
            optimizer.track("lagging", LaggingSchedule(settings.lagging_limit, settings.lagging_window, interval))
        if settings.mi_target is not None:
            multiplier = Multiplier(
                settings.mi_weight, settings.mi_target, settings.mi_target_rate, settings.mi_weight_max,
                by_validation=str(settings.mi_target_of).startswith("valid-"),
            )  # fmt: skip
            optimizer.track("mi_weight", multiplier)

    def _phase(self, optimizer: AMIPhased, update_num: int) -> str:
        lagging = optimizer.trackers.get("lagging")
        if lagging is None:
            return JOINT
        lagging.end_validation()
        return lagging.phase

    def _players(self, phase: str) -> FrozenSet[str]:
        return STEPPED[phase]

    def _step(self, optimizer: AMIPhased, phase: str, update_num: int) -> VAEStep:
        weight = optimizer.stats["kl_weight"] = self._kl_weight(optimizer)
        multiplier, mi_weight = optimizer.trackers.get("mi_weight"), None
        optimizer.stats.pop("mi_weight", None)  # of a run that is resumed without --mi-target
        if multiplier is not None:
            mi_weight = optimizer.stats["mi_weight"] = multiplier.value
        mean_exp = optimizer.trackers["exp_scores"].mean.get(phase)
        return VAEStep(update_num, weight, mean_exp, self._samples(optimizer), mi_weight)

    def _track(self, optimizer: AMIPhased, phase: str, log: Log) -> None:
        if "mean_exp" in log:
            sums = (log["bound_sentences"], log["mean_exp"], 0.0)
            optimizer.trackers["exp_scores"].add(phase, on_device(sums))
        if "lagging" in optimizer.trackers:
            optimizer.trackers["lagging"].add(phase, on_device((log["loss"], log["ntokens"])))
        multiplier = optimizer.trackers.get("mi_weight")
        if multiplier is not None and not multiplier.by_validation:
            multiplier.add(phase, on_device(tuple(log[name] for name in self._measured())))

    def _remedies(self, phase: str, update_num: int) -> List[str]:
        return ["lower --lr, --mi-weight or --encoder-clip-norm"]

    def _after_step(self, optimizer: AMIPhased) -> None:
        lagging = optimizer.trackers.get("lagging")
        if lagging is not None or "lagging" in optimizer.stats:  # also when resumed without --lagging
            optimizer.stats["lagging"] = float(lagging is not None and lagging.aggressive)
            optimizer.stats["decoder_updates"] = optimizer.counts["decoder"]

    def _updates(self, epochs: float) -> int:
        batches, freq = len(self._train_batches), list(self.cfg.update_freq)
        return round(updates_in(epochs, batches, freq, self.cfg.skip_remainder_batch))

    def _one_epoch(self) -> int:
        if len(set(self.cfg.update_freq)) > 1:
            raise AMIError("--lagging counts in epochs, which --update-freq changes here: pass --lagging-interval")
        return self._updates(1)

    def _kl_weight(self, optimizer: AMIPhased) -> float:
        """Annealed over the decoder's updates: the encoder's inner loops (--lagging) do not count (He et al. 2019)."""
        if self._annealing is None:
            settings = self._criterion.cfg
            length = settings.kl_anneal_updates
            if settings.kl_anneal_epochs > 0:
                if length:
                    raise AMIError("--kl-anneal-updates and --kl-anneal-epochs say the same thing: pass one of them")
                length = self._updates(settings.kl_anneal_epochs)
                logger.info("annealing of the KL weight: %d updates", length)
            self._annealing = Annealing(
                str(settings.kl_anneal), settings.kl_start, settings.kl_weight, length,
                settings.kl_cycles, settings.kl_cycle_ratio,
            )  # fmt: skip
        return self._annealing.weight(optimizer.counts["decoder"])

    def _samples(self, optimizer: AMIPhased) -> int:
        """Samples of z per sentence; as the annealing, --iw-after-... counts the decoder's updates."""
        settings = self._criterion.cfg
        if settings.iw_train == 1:
            return 1
        if self._iw_start is None:
            self._iw_start = settings.iw_after_updates
            if settings.iw_after_epochs > 0:
                self._iw_start = self._updates(settings.iw_after_epochs)
            logger.info("importance-weighted training from update %d on", self._iw_start)
        return settings.iw_train if optimizer.counts["decoder"] >= self._iw_start else 1

    def _measured(self) -> Tuple[str, str]:
        """Names of the sums, in what the criterion logs, whose ratio --mi-target is compared with."""
        name = str(self._criterion.cfg.mi_target_of).replace("valid-", "")
        return name, f"{name}_sentences"

    # ------------------------------------------------------------------ validation and logs

    def begin_valid_epoch(self, epoch: int, model: BaseFairseqModel) -> None:
        super().begin_valid_epoch(epoch, model)
        for tracker in self._validated():
            tracker.start_validation()

    def reduce_metrics(self, logging_outputs: List[Log], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if any("phase" in log for log in logging_outputs):
            return
        for tracker in self._validated():
            lagging = isinstance(tracker, LaggingSchedule)
            names = ("information", "information_sentences") if lagging else self._measured()
            tracker.add_validation(*(float(sum(log[name] for log in logging_outputs)) for name in names))

    def _validated(self) -> List[Union[LaggingSchedule, Multiplier]]:
        """What is tracked of validations."""
        found = {} if self._optimizer is None else self._optimizer.trackers
        return [found[name] for name in ("lagging", "mi_weight") if name in found]
