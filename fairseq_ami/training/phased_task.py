"""The skeleton of training by turns, which all tasks of this package share."""

import logging
from typing import Any, Dict, FrozenSet, List, NoReturn, Optional, Set, Tuple

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor
from torch.autograd.profiler import record_function

from fairseq_ami.errors import NO_LANGUAGE_MODEL, AMIError
from fairseq_ami.optim import AMIPhased, phased
from fairseq_ami.optim.finite import Moment, advice
from fairseq_ami.training import patience
from fairseq_ami.training.batches import is_filler, no_gradient, nothing, training_batches
from fairseq_ami.training.exchange import fit_buffer
from fairseq_ami.training.meters import drop_silent_meters
from fairseq_ami.training.settings import check_complete
from fairseq_ami.types import Batch, Log

logger = logging.getLogger(__name__)


class PhasedTask(FairseqTask):
    """A task whose players take turns: who moves in an update, what the criterion is told, what is counted.

    A task names its criterion and fills in the hooks below. Everything else of an update is here, once.

    Attributes:
        criterion_class: the criterion that this task trains with.
        criterion_flag: its name on the command line.
    """

    criterion_class: type
    criterion_flag: str

    _criterion: Optional[FairseqCriterion] = None
    _optimizer: Optional[AMIPhased] = None
    _judged_before = -1

    # ------------------------------------------------------------------ hooks

    def _start(self, optimizer: AMIPhased, model: BaseFairseqModel) -> None:
        """Called once, before the first update: give *optimizer* what it has to track."""

    def _phase(self, optimizer: AMIPhased, update_num: int) -> str:
        """Name of the phase of an update."""
        raise NotImplementedError

    def _players(self, phase: str) -> FrozenSet[str]:
        """The players whose weights move in *phase*."""
        raise NotImplementedError

    def _step(self, optimizer: AMIPhased, phase: str, update_num: int) -> Any:
        """What the criterion is told about the update."""
        raise NotImplementedError

    def _before_loss(self, optimizer: AMIPhased, model: BaseFairseqModel, sample: Batch, phase: str) -> None:
        """Called in every update, before its loss is computed."""

    def _track(self, optimizer: AMIPhased, phase: str, log: Log) -> None:
        """Add what a batch left in *log* to what *optimizer* tracks."""

    def _after_step(self, optimizer: AMIPhased) -> None:
        """Called once per applied update, when everything is counted."""

    def _judged_updates(self, optimizer: AMIPhased) -> Optional[int]:
        """Updates so far of the network that validation judges; None where every update moves it."""
        return None

    def _remedies(self, phase: str, update_num: int) -> List[str]:
        """What a user may change about the updates that led to this one, when its numbers are none: "lower --lr"."""
        raise NotImplementedError

    # ------------------------------------------------------------------ building

    @classmethod
    def setup_task(cls, cfg: Any, **kwargs: Any) -> FairseqTask:
        """Build the task.

        Raises:
            AMIError: a configuration file that leaves something open.
        """
        check_complete(cfg)
        return super().setup_task(cfg, **kwargs)

    def get_batch_iterator(self, dataset: FairseqDataset, *args: Any, **kwargs: Any) -> EpochBatchIterator:
        return training_batches(self, dataset, super().get_batch_iterator(dataset, *args, **kwargs), kwargs)

    def build_criterion(self, cfg: DictConfig, from_checkpoint: bool = False) -> FairseqCriterion:
        criterion = super().build_criterion(cfg, from_checkpoint)
        self._criterion = criterion if isinstance(criterion, self.criterion_class) else None
        return criterion

    def _adopt(self, optimizer: FairseqOptimizer, model: BaseFairseqModel) -> AMIPhased:
        """The phased optimizer inside *optimizer*, which before the first update is told what to track.

        Raises:
            AMIError: another criterion or optimizer, or settings without their part of the model.
        """
        inner = phased(optimizer)
        if self._optimizer is not inner:
            if self._criterion is None:
                raise AMIError(f"the task {self.cfg._name} trains with --criterion {self.criterion_flag}")
            self._criterion.check_model(model)
            self._start(inner, model)
            self._optimizer = inner
        inner.attach_scaler(getattr(optimizer, "scaler", None))
        return inner

    # ------------------------------------------------------------------ an update

    def train_step(
        self,
        sample: Batch,
        model: BaseFairseqModel,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        ignore_grad: bool = False,
    ) -> Tuple[Tensor, int, Log]:
        """Loss and gradients of the players whose phase it is.

        Raises:
            AMIError: what cannot be trained.
        """
        inner = self._adopt(optimizer, model)
        phase = self._phase(inner, update_num)
        model.train()
        model.set_num_updates(update_num)
        model.set_players(self._players(phase))
        fit_buffer(model)
        self._before_loss(inner, model, sample, phase)
        step = self._step(inner, phase, update_num)
        remedy = advice(self._remedies(phase, update_num), update_num, self.cfg.fp16)
        inner.watch.begin(Moment(update_num, phase, self.cfg.save_dir, remedy))
        ignore_grad = ignore_grad or is_filler(sample)
        with torch.set_grad_enabled(not ignore_grad), record_function("forward"):
            loss, size, log = criterion(model, sample, step)
        log["phase"] = 0  # tells training from validation in reduce_metrics
        if ignore_grad:  # nothing to learn from on this worker: no gradient, no statistics
            optimizer.backward(no_gradient(model))
            return loss * 0, 0, nothing(log)
        inner.watch.note(loss)
        self._track(inner, phase, log)
        with record_function("backward"):
            optimizer.backward(loss)
        return loss, size, log

    def optimizer_step(self, optimizer: FairseqOptimizer, model: BaseFairseqModel, update_num: int) -> None:
        """Step the players whose phase it is; called once per applied update."""
        inner = self._adopt(optimizer, model)
        phase = self._phase(inner, update_num)
        players: Set[str] = set(self._players(phase)) & set(inner.optimizers)
        inner.start_update(phase, players)
        optimizer.step(groups=players)
        world = self.cfg.distributed_world_size
        inner.finish_update(distributed_utils.get_data_parallel_group() if world > 1 else None)
        self._after_step(inner)

    def eval_lm_dataloader(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not for the tasks of this package.

        Raises:
            AMIError: always, with the command that measures.
        """
        raise AMIError(NO_LANGUAGE_MODEL)

    # ------------------------------------------------------------------ validation, logs and checkpoints

    def begin_valid_epoch(self, epoch: int, model: BaseFairseqModel) -> None:
        """Keep ``--patience`` from counting validations between which the network that they judge did not move."""
        super().begin_valid_epoch(epoch, model)
        seen = None if self._optimizer is None else self._judged_updates(self._optimizer)
        if seen is not None:
            if seen == self._judged_before:
                patience.forgive()
            self._judged_before = seen

    def reduce_metrics(self, logging_outputs: List[Log], criterion: FairseqCriterion) -> None:
        drop_silent_meters()
        super().reduce_metrics(logging_outputs, criterion)
        if self._optimizer is not None and any("phase" in log for log in logging_outputs):
            self._optimizer.watch.check_sum(float(sum(log["loss"] for log in logging_outputs)))
            for name, value in self._optimizer.stats.items():
                metrics.log_scalar(name, value, weight=0, round=6)

    def get_checkpoint_dict(self) -> Dict[str, Any]:
        """What fairseq keeps of the run beside the model: here, how long --patience has waited."""
        return {type(self).__name__: patience.state()}

    def set_checkpoint_dict(self, state: Dict[str, Any]) -> None:
        patience.restore(state)
