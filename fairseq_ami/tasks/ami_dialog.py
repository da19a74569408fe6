"""``ami_dialog``: dialogue histories and replies for a forward and a backward network that take turns."""

import logging
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple, Type

from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset, LanguagePairDataset
from fairseq.models import BaseFairseqModel
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks import register_task
from torch import Tensor

from fairseq_ami.data.dialogue import CONTEXT, HISTORY, LAST, REPLY, SEPARATOR, DialogueDataset, truncated
from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.tasks.ami_translation import AMITranslation, AMITranslationConfig
from fairseq_ami.training.replies import ReplySettings, ReplyValidation, generation_args
from fairseq_ami.types import Arguments, Batch, Log, Network, Search

logger = logging.getLogger(__name__)


@dataclass
class AMIDialogConfig(AMITranslationConfig, ReplySettings):
    """Those of ``ami_translation``, and the metrics of replies at validation."""


@register_task("ami_dialog", dataclass=AMIDialogConfig)
class AMIDialog(AMITranslation):
    """:class:`AMITranslation` whose backward network predicts the last utterance of the history.

    The data are those of ``fairseq-ami dialog-prepare``: one dictionary for all sides, ``<sep>`` between the
    utterances of a history. The separator is never written, neither by samples nor by the search. Histories
    longer than the pair can read lose their oldest words.

    Raises:
        AMIError: dictionaries that differ, or without the separator.
    """

    cfg: AMIDialogConfig

    def __init__(self, cfg: AMIDialogConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        if cfg.truncate_source:  # fairseq's keeps the first words, and the utterance to answer is the last
            logger.warning("--truncate-source is ignored: ami_dialog cuts long histories by itself, oldest words first")
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
        self._backward_limits: Tuple[int, int] = (cfg.max_source_positions, cfg.max_source_positions)
        self._replies: Optional[ReplyValidation] = None

    @property
    def backward_languages(self) -> Tuple[str, str]:
        """What the backward network reads and writes: reply after its context, last utterance."""
        return CONTEXT, LAST

    @property
    def other_languages(self) -> Tuple[str, str]:
        own = self.cfg.source_lang, self.cfg.target_lang
        return (HISTORY, REPLY) if own == self.backward_languages else self.backward_languages

    @property
    def separators(self) -> Tuple[int, ...]:
        return (self._separator,)

    def build_model(self, cfg: Arguments, from_checkpoint: bool = False) -> BaseFairseqModel:
        """The pair; what its networks can read and write bounds the histories and the last utterances.

        Raises:
            AMIError: as for translation, or data of the backward network to train on.
        """
        if not from_checkpoint and (self.cfg.source_lang, self.cfg.target_lang) == self.backward_languages:
            raise AMIError(
                f"-s {CONTEXT} -t {LAST} is the backward network's own data, for decoding with it; ami_dialog trains "
                "both networks on -s hist -t reply"
            )
        model = super().build_model(cfg, from_checkpoint)
        self._source_limit = int(min(self._source_limit, model.max_positions()[0]))
        if isinstance(model, PairedModel) and model.backward_model is not None:
            self.limit_backward(model.backward_model)
        if self.cfg.eval_replies and not from_checkpoint:
            generator = self.build_generator([model], generation_args(self.cfg.eval_replies_args))
            vectors, subwords = self.cfg.eval_replies_vectors, self.cfg.eval_replies_remove_bpe
            self._replies = ReplyValidation(self.target_dictionary, generator, vectors, subwords)
        return model

    def limit_backward(self, network: Network) -> None:
        """Let batches bring no more than *network*, a backward one, can read and write."""
        reads, writes = map(min, self._backward_limits, network.max_positions())
        self._backward_limits = (int(reads), int(writes))

    def _prepared(self, loaded: LanguagePairDataset) -> DialogueDataset:
        own = (self.cfg.source_lang, self.cfg.target_lang) != self.backward_languages
        limits = self._backward_limits if own else None
        return DialogueDataset(loaded, self._separator, self._source_limit, limits)

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
        """fairseq's generator; the separator is left out of its choices."""
        suppressed = {"tokens_to_suppress": [SEPARATOR], **(kwargs.pop("extra_gen_cls_kwargs", None) or {})}
        return super().build_generator(models, args, seq_gen_cls, extra_gen_cls_kwargs=suppressed, **kwargs)

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
