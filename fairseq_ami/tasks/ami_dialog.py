"""``ami_dialog``: dialogue histories and replies for a forward and a backward network that take turns."""

from dataclasses import dataclass
from typing import Tuple

from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task

from fairseq_ami.data.dialogue import CONTEXT, HISTORY, LAST, REPLY, DialogueDataset
from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.tasks.ami_translation import AMITranslation, AMITranslationConfig
from fairseq_ami.training.dialogue_task import DialogueConfig, DialogueTask
from fairseq_ami.types import Arguments, Network


@dataclass
class AMIDialogConfig(AMITranslationConfig, DialogueConfig):
    """Those of ``ami_translation``, and those of all tasks of dialogue."""


@register_task("ami_dialog", dataclass=AMIDialogConfig)
class AMIDialog(DialogueTask, AMITranslation):
    """:class:`AMITranslation` whose backward network predicts the last utterance of the history.

    The data are those of ``fairseq-ami dialog-prepare``: one dictionary for all sides, ``<sep>`` between the
    utterances of a history. The separator is never written, neither by samples nor by the search. Histories
    longer than the pair can read lose their oldest words.

    Raises:
        AMIError: dictionaries that differ, or without the separator.
    """

    cfg: AMIDialogConfig

    def __init__(self, cfg: AMIDialogConfig, src_dict: Dictionary, tgt_dict: Dictionary):
        super().__init__(cfg, src_dict, tgt_dict)
        self._backward_limits: Tuple[int, int] = (cfg.max_source_positions, cfg.max_source_positions)

    @property
    def backward_languages(self) -> Tuple[str, str]:
        """What the backward network reads and writes: reply after its context, last utterance."""
        return CONTEXT, LAST

    @property
    def other_languages(self) -> Tuple[str, str]:
        own = self.cfg.source_lang, self.cfg.target_lang
        return (HISTORY, REPLY) if own == self.backward_languages else self.backward_languages

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
        if isinstance(model, PairedModel) and model.backward_model is not None:
            self.limit_backward(model.backward_model)
        self._know_model(model, from_checkpoint)
        return model

    def limit_backward(self, network: Network) -> None:
        """Let batches bring no more than *network*, a backward one, can read and write."""
        reads, writes = map(min, self._backward_limits, network.max_positions())
        self._backward_limits = (int(reads), int(writes))

    def _prepared(self, loaded: LanguagePairDataset) -> DialogueDataset:
        own = (self.cfg.source_lang, self.cfg.target_lang) != self.backward_languages
        limits = self._backward_limits if own else None
        return DialogueDataset(loaded, self._separator, self._source_limit, limits)
