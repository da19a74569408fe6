"""What the tasks of dialogue share: histories that are cut, a separator that is never written, decoded validation."""

import logging
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Type

from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import Tensor

from fairseq_ami.data import SeededOrder
from fairseq_ami.data.dialogue import SEPARATOR, DialogueDataset, truncated
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.latent_search import LatentSearchSettings, with_latent_draws
from fairseq_ami.training.replies import ReplySettings, ReplyValidation, generation_args
from fairseq_ami.training.settings import RunSettings
from fairseq_ami.types import Arguments, Batch, Log, Search

logger = logging.getLogger(__name__)


@dataclass
class DialogueConfig(TranslationConfig, RunSettings, ReplySettings, LatentSearchSettings):
    """Those of translation, the metrics of replies at validation, and z of dialogue models."""


class DialogueTask(TranslationTask):
    """Histories and replies with one dictionary, as ``fairseq-ami dialog-prepare`` makes them.

    Raises:
        AMIError: dictionaries that differ, or without the separator.
    """

    cfg: DialogueConfig

    def __init__(self, cfg: DialogueConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        name = type(self).__name__
        if cfg.truncate_source:  # fairseq's keeps the first words, and the utterance to answer is the last
            logger.warning(
                "--truncate-source is ignored: %s cuts long histories by itself, oldest words first",
                getattr(cfg, "_name", None) or name,
            )
            cfg.truncate_source = False
        super().__init__(cfg, src_dict, tgt_dict)
        if src_dict != tgt_dict:
            raise AMIError(
                f"dialogue needs one dictionary: dict.{cfg.source_lang}.txt and dict.{cfg.target_lang}.txt differ in "
                f"{cfg.data}. Prepare the data with fairseq-ami dialog-prepare (fairseq-preprocess --joined-dictionary)"
            )
        if SEPARATOR not in src_dict:
            raise AMIError(
                f"the dictionary in {cfg.data} has no {SEPARATOR}, which stands between the utterances of a history: "
                "prepare the data with fairseq-ami dialog-prepare"
            )
        self._separator = src_dict.index(SEPARATOR)
        self._source_limit: int = cfg.max_source_positions
        self._replies: Optional[ReplyValidation] = None

    @property
    def separators(self) -> Tuple[int, ...]:
        """Symbols that stand between utterances and that no network may write."""
        return (self._separator,)

    def _cut_histories(self, split: str) -> None:
        """Give the pairs of *split*, as fairseq has read them, short histories and an order that the seed decides."""
        pairs = DialogueDataset(self.datasets[split], self._separator, self._source_limit, None)
        self.datasets[split] = SeededOrder(pairs, self.cfg.seed)

    def _know_model(self, model: BaseFairseqModel, from_checkpoint: bool) -> None:
        """Cut histories to what *model* reads, and decode with it in validation if that is asked for."""
        self._source_limit = int(min(self._source_limit, model.max_positions()[0]))
        if self.cfg.eval_replies and not from_checkpoint:
            generator = self.build_generator([model], generation_args(self.cfg.eval_replies_args))
            vectors, subwords = self.cfg.eval_replies_vectors, self.cfg.eval_replies_remove_bpe
            self._replies = ReplyValidation(self.target_dictionary, generator, vectors, subwords)

    def build_dataset_for_inference(
        self, src_tokens: List[Tensor], src_lengths: Sequence[int], constraints: Optional[Tensor] = None
    ) -> FairseqDataset:
        cut = [truncated(tokens, self._source_limit, self._separator) for tokens in src_tokens]
        return super().build_dataset_for_inference(cut, [len(tokens) for tokens in cut], constraints)

    def build_generator(
        self,
        models: Sequence[BaseFairseqModel],
        args: Arguments,
        seq_gen_cls: Optional[Type[SequenceGenerator]] = None,
        **kwargs: Any,
    ) -> Search:
        """fairseq's generator; the separator is left out of its choices, and latent variables are drawn as asked."""
        suppressed = {"tokens_to_suppress": [SEPARATOR], **(kwargs.pop("extra_gen_cls_kwargs", None) or {})}
        generator = super().build_generator(models, args, seq_gen_cls, extra_gen_cls_kwargs=suppressed, **kwargs)
        draws = 0 if getattr(args, "score_reference", False) else self.cfg.latent_draws
        return with_latent_draws(generator, models, draws, self.cfg.seed)

    # ------------------------------------------------------------------ metrics at validation

    def valid_step(
        self, sample: Batch, model: BaseFairseqModel, criterion: FairseqCriterion, **kwargs: Any
    ) -> Tuple[Tensor, int, Log]:
        result = super().valid_step(sample, model, criterion, **kwargs)
        if self._replies is not None:
            self._replies.decode(self, model, sample)
        return result

    def reduce_metrics(self, logging_outputs: List[Log], criterion: FairseqCriterion) -> None:
        super().reduce_metrics(logging_outputs, criterion)
        if self._replies is not None:
            self._replies.log(self.cfg.distributed_world_size)
