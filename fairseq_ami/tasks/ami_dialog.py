"""``ami_dialog``: dialogue histories and replies for a forward and a backward network that take turns."""

from typing import Any, List, Optional, Tuple

from fairseq.data import Dictionary
from fairseq.tasks import register_task
from torch import Tensor

from fairseq_ami.data.dialogue import CONTEXT, LAST, SEPARATOR, DialogueDataset, truncated
from fairseq_ami.errors import AMIError
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.tasks.ami_translation import AMITranslation, AMITranslationConfig


@register_task("ami_dialog", dataclass=AMITranslationConfig)
class AMIDialog(AMITranslation):
    """:class:`AMITranslation` whose backward network predicts the last utterance of the history.

    The data are those of ``fairseq-ami dialog-prepare``: one dictionary for all sides, ``<sep>`` between the
    utterances of a history. The separator is never written, neither by samples nor by the search. Histories
    longer than the pair can read lose their oldest words.

    Raises:
        AMIError: dictionaries that differ, or without the separator.
    """

    def __init__(self, cfg: AMITranslationConfig, src_dict: Dictionary, tgt_dict: Dictionary):
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
        self._backward_limit: Optional[int] = cfg.max_source_positions

    @property
    def backward_languages(self) -> Tuple[str, str]:
        """What the backward network reads and writes: reply after its context, last utterance."""
        return CONTEXT, LAST

    @property
    def separators(self) -> Tuple[int, ...]:
        return (self._separator,)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """The pair; what its networks can read bounds the histories.

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
        if isinstance(model, PairedModel):
            self._backward_limit = int(min(self._backward_limit, model.backward_model.encoder.max_positions()))
        return model

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        super().load_dataset(split, epoch, combine, **kwargs)
        own = (self.cfg.source_lang, self.cfg.target_lang) != self.backward_languages
        self.datasets[split] = DialogueDataset(
            self.datasets[split], self._separator, self._source_limit, self._backward_limit if own else None
        )

    def build_dataset_for_inference(self, src_tokens: List[Tensor], src_lengths: Any, constraints: Any = None) -> Any:
        cut = [truncated(tokens, self._source_limit, self._separator) for tokens in src_tokens]
        return super().build_dataset_for_inference(cut, [len(tokens) for tokens in cut], constraints)

    def build_generator(self, models: Any, args: Any, seq_gen_cls: Any = None, **kwargs: Any) -> Any:
        """fairseq's generator; the separator is left out of its choices."""
        suppressed = {"tokens_to_suppress": [SEPARATOR], **(kwargs.pop("extra_gen_cls_kwargs", None) or {})}
        return super().build_generator(models, args, seq_gen_cls, extra_gen_cls_kwargs=suppressed, **kwargs)
