"""Sentences of one language, one item per line, as ``fairseq-preprocess --only-source`` writes them."""

import copy
import logging
import os
from typing import Any, Dict, List

import numpy as np
import torch
from fairseq.data import Dictionary, data_utils
from fairseq.models import BaseFairseqModel

from fairseq_ami.data.kept_lines import KeptLines
from fairseq_ami.errors import AMIError
from fairseq_ami.types import IndexedSentences

logger = logging.getLogger(__name__)


class SentenceDataset(KeptLines):
    """Sentences that end with the end symbol; empty lines are left out.

    Args:
        sentences: fairseq's indexed data set.
        dictionary: its vocabulary.
        shuffle, seed: as in :class:`KeptLines`.
    """

    def __init__(self, sentences: IndexedSentences, dictionary: Dictionary, shuffle: bool, seed: int = 0):
        # an empty line is the end symbol alone
        super().__init__(sentences, np.asarray(sentences.sizes) > 1, shuffle, seed)
        self.dictionary = dictionary

    def __getitem__(self, index: int) -> Dict[str, Any]:
        line = int(self.lines[index])
        return {"id": line, "target": self.indexed[line].long()}

    def collater(self, items: List[Dict[str, Any]]) -> Dict[str, Any]:
        """A fairseq batch: rows padded on the right, the decoder's input behind the end symbol."""
        if not items:
            return {}
        pad, eos = self.dictionary.pad(), self.dictionary.eos()
        values = [item["target"] for item in items]
        target = data_utils.collate_tokens(values, pad)
        lengths = torch.tensor([len(value) for value in values])
        previous = data_utils.collate_tokens(values, pad, eos, move_eos_to_beginning=True)
        return {
            "id": torch.tensor([item["id"] for item in items]),
            "nsentences": len(items),
            "ntokens": int(lengths.sum()),
            "net_input": {"src_tokens": target, "src_lengths": lengths, "prev_output_tokens": previous},
            "target": target,
        }

    def select(self, indices: np.ndarray) -> "SentenceDataset":
        """The sentences with these *indices* alone; their ids, and so their random numbers, stay."""
        part = copy.copy(self)
        part.lines, part.lengths = self.lines[indices], self.lengths[indices]
        return part


def load_sentences(
    path: str, dictionary: Dictionary, shuffle: bool = False, seed: int = 0, combine: bool = False
) -> SentenceDataset:
    """Read ``PATH.bin`` and ``PATH.idx``; *shuffle* and *seed* as in :class:`SentenceDataset`.

    With *combine* ``PATH1.bin``, ``PATH2.bin``, ... follow, if they are there, as in fairseq's own tasks.

    Raises:
        AMIError: no such data, or nothing but empty lines.
    """
    indexed = data_utils.load_indexed_dataset(path, dictionary, combine=combine)
    if indexed is None:
        raise AMIError(
            f"there is no {os.path.basename(path)} data at {path}.bin: make it with `fairseq-preprocess --only-source "
            "--trainpref ... --validpref ... --testpref ... --destdir ...`"
        )
    dataset = SentenceDataset(indexed, dictionary, shuffle, seed)
    if len(dataset) == 0:
        raise AMIError(f"{path}.bin holds no sentence: all of its {dataset.left_out} lines are empty")
    if dataset.left_out:
        logger.warning("%s: %d empty lines are left out, %d sentences stay", path, dataset.left_out, len(dataset))
    return dataset


def check_lengths(model: BaseFairseqModel, dataset: SentenceDataset, max_tokens: int) -> None:
    """Refuse sentences that could not be measured, rather than leaving them out of the averages.

    Raises:
        AMIError: names the first of them.
    """
    if len(dataset) == 0:
        raise AMIError("there is no sentence to measure")
    lengths = dataset.num_tokens_vec(np.arange(len(dataset)))
    limits = ((model.max_positions(), "the model's --max-target-positions"), (max_tokens, "--max-tokens"))
    limit, name = min(limits)
    too_long = (lengths > limit).nonzero()[0]
    if len(too_long):
        first = int(too_long[0])
        raise AMIError(
            f"{len(too_long)} sentences are longer than {name} ({limit}), the first of them in line "
            f"{dataset[first]['id'] + 1} with {lengths[first]} tokens: "
            + ("raise it" if name == "--max-tokens" else "leave them out of the data, or train a model for longer ones")
        )


def batches_by_length(dataset: SentenceDataset, indices: np.ndarray, max_tokens: int) -> List[np.ndarray]:
    """Indices of sentences in batches of similar length, sentences x longest sentence at most *max_tokens*."""
    ordered = indices[dataset.num_tokens_vec(indices).argsort(kind="stable")]
    return dataset.batch_by_size(ordered, max_tokens=max_tokens)
