"""``hierarchical_dialog``: one network that replies to histories, trained on them or on whole dialogues."""

from dataclasses import dataclass, field
from typing import Any, Tuple, Union

import numpy as np
from fairseq import utils
from fairseq.data import FairseqDataset
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task

from fairseq_ami.data.whole_dialogues import WholeDialogues, load_dialogues
from fairseq_ami.errors import AMIError
from fairseq_ami.models.hred import HRED
from fairseq_ami.models.pair_settings import set_args
from fairseq_ami.training import start
from fairseq_ami.training.dialogue_task import DialogueConfig, DialogueTask
from fairseq_ami.types import Arguments


@dataclass
class HierarchicalDialogConfig(DialogueConfig):
    whole_dialogues: bool = field(
        default=False,
        metadata={
            "help": "train on whole dialogues, in which every turn after the first is a reply, instead of histories of "
            "a few utterances and their replies. Validation and decoding always take histories and replies"
        },
    )


@register_task("hierarchical_dialog", dataclass=HierarchicalDialogConfig)
class HierarchicalDialog(DialogueTask):
    """fairseq's translation on dialogue: any encoder-decoder trains, and those of the HRED family on whole dialogues.

    Histories longer than the network reads lose their oldest words; the separator is never written. The batches
    depend on the seed alone.
    """

    cfg: HierarchicalDialogConfig

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:
        """Read a split: histories and replies, or with --whole-dialogues the dialogues of the training set.

        Raises:
            AMIError: no whole dialogues in the data.
        """
        if self.cfg.whole_dialogues and split == self.cfg.train_subset:
            paths = utils.split_paths(self.cfg.data)
            folder = paths[(epoch - 1) % len(paths)]
            self.datasets[split] = load_dialogues(folder, split, self.src_dict, self._separator, self.cfg.seed)
            return
        super().load_dataset(split, epoch, combine, **kwargs)
        self._cut_histories(split)

    def build_model(self, cfg: Arguments, from_checkpoint: bool = False) -> BaseFairseqModel:
        """The network; a run that is resumed needs no --hred-checkpoint, and its last checkpoint is mended if damaged.

        Raises:
            AMIError: whole dialogues for a network that takes none.
        """
        if not from_checkpoint and start.find_checkpoint(self.cfg) and getattr(cfg, "hred_checkpoint", None):
            set_args(cfg, hred_checkpoint=None)
        model = super().build_model(cfg, from_checkpoint)
        if self.cfg.whole_dialogues and not isinstance(model, HRED):
            raise AMIError("--whole-dialogues trains --arch hred, vhred, dir_vhred and vhcr: leave it out for others")
        self._know_model(model, from_checkpoint)
        return model

    def filter_indices_by_size(
        self,
        indices: np.ndarray,
        dataset: FairseqDataset,
        max_positions: Union[None, int, Tuple[int, int]] = None,
        ignore_invalid_inputs: bool = False,
    ) -> np.ndarray:
        """fairseq's; a whole dialogue must not be longer than the network reads."""
        if isinstance(dataset, WholeDialogues) and isinstance(max_positions, tuple):
            max_positions = max_positions[0]
        return super().filter_indices_by_size(indices, dataset, max_positions, ignore_invalid_inputs)
