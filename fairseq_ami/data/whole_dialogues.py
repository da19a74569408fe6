"""Whole dialogues, ``u1 <sep> u2 <sep> u3`` a line: every turn after the first is a reply to those before it."""

import logging
import os
from typing import Any, Dict, List

import numpy as np
import torch
from fairseq.data import Dictionary, data_utils
from torch import Tensor

from fairseq_ami.data.dialogue import DIALOGUE, cut_history
from fairseq_ami.data.kept_lines import KeptLines
from fairseq_ami.errors import AMIError
from fairseq_ami.modules.hierarchy import cut_utterances
from fairseq_ami.types import IndexedSentences

logger = logging.getLogger(__name__)

_MOST_TURNS = 2**20  # in the numbers of replies


class WholeDialogues(KeptLines):
    """Dialogues of at least two turns. Ids are line numbers (from 0).

    Args:
        dialogues: fairseq's indexed data set.
        dictionary: its vocabulary.
        separator: symbol id.
        left_pad: of the histories.
        seed: of the order of dialogues of one length.
    """

    def __init__(
        self, dialogues: IndexedSentences, dictionary: Dictionary, separator: int, left_pad: bool = True, seed: int = 0
    ):
        several = [bool(dialogues[line].eq(separator).any()) for line in range(len(dialogues.sizes))]
        super().__init__(dialogues, np.asarray(several, dtype=bool), True, seed)
        self.dictionary, self.separator, self.left_pad = dictionary, separator, left_pad

    def __getitem__(self, index: int) -> Dict[str, Any]:
        line = int(self.lines[index])
        return {"id": line, "dialogue": self.indexed[line].long()}

    def collater(self, samples: List[Dict[str, Any]]) -> Dict[str, Any]:
        """A batch of dialogues and of all their replies.

        Returns:
            As of a ``LanguagePairDataset``, but with the replies as rows of ``target`` and ``prev_output_tokens``.
            ``src_tokens`` holds each dialogue without its last turn. ``net_input`` has ``owner``, the row of the
            dialogue that a reply is of, and ``turn``, how many utterances stand before it, shape (replies,).
            ``reply_id`` tells the replies of all dialogues apart.
        """
        if not samples:
            return {}
        pad, eos = self.dictionary.pad(), self.dictionary.eos()
        ids = torch.tensor([sample["id"] for sample in samples])
        whole = data_utils.collate_tokens([sample["dialogue"] for sample in samples], pad)
        turns = cut_utterances(whole, self.separator, pad, eos)
        replies = turns.place > 0
        target, owner, turn = turns.tokens[replies], turns.owner[replies], turns.place[replies]
        target = target[:, : int(target.ne(pad).sum(1).max())]
        histories = [self._history(sample["dialogue"], eos) for sample in samples]
        previous = torch.cat([torch.full_like(target[:, :1], eos), target[:, :-1]], dim=1)
        return {
            "id": ids,
            "reply_id": ids[owner] * _MOST_TURNS + turn,
            "nsentences": len(target),
            "ntokens": int(target.ne(pad).sum()),
            "net_input": {
                "src_tokens": data_utils.collate_tokens(histories, pad, left_pad=self.left_pad),
                "src_lengths": torch.tensor([len(history) for history in histories]),
                "prev_output_tokens": previous.masked_fill(target.eq(pad), pad),
                "owner": owner,
                "turn": turn,
            },
            "target": target,
        }

    def _history(self, dialogue: Tensor, eos: int) -> Tensor:
        history, _ = cut_history(dialogue, self.separator)
        return torch.cat([history[:-1], history.new_tensor([eos])])


def load_dialogues(folder: str, split: str, dictionary: Dictionary, separator: int, seed: int) -> WholeDialogues:
    """Read ``SPLIT.dialogue.bin`` and ``SPLIT.dialogue.idx`` in *folder*.

    Raises:
        AMIError: no such data, or no dialogue of two turns.
    """
    path = os.path.join(folder, f"{split}.{DIALOGUE}")
    found = data_utils.load_indexed_dataset(path, dictionary, dataset_impl="mmap")  # not the text beside it
    if found is None:
        raise AMIError(
            f"there are no whole dialogues at {path}.bin: prepare the data again with fairseq-ami dialog-prepare, or "
            "leave --whole-dialogues out to train on histories and replies"
        )
    dataset = WholeDialogues(found, dictionary, separator, seed=seed)
    if len(dataset) == 0:
        raise AMIError(f"{path}.bin holds no dialogue of two turns or more")
    if dataset.left_out:
        logger.warning("%s: %d dialogues of a single turn are left out, %d stay", path, dataset.left_out, len(dataset))
    return dataset
