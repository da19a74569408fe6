"""Sentences without references beside the pairs of a training set."""

import logging
import math
import os
import struct
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import numpy as np
from fairseq.data import (
    BaseWrapperDataset,
    Dictionary,
    LanguagePairDataset,
    data_utils,
    indexed_dataset,
)

from fairseq_ami.checkpoints import first_line
from fairseq_ami.errors import AMIError
from fairseq_ami.random_streams import Stream

logger = logging.getLogger(__name__)

KEY = "unlabelled"  # of a batch: the batch of sentences without references that comes with it
SPARE = "spare"  # of that batch: it only stands in for one without sentences, and counts for nothing


@dataclass
class UnlabelledSettings:
    unlabelled: Optional[str] = field(
        default=None,
        metadata={
            "help": "binarised sentences of the source language without references (fairseq-preprocess --only-source), "
            "as the prefix of files beside the training data: the forward network is rewarded on them as well"
        },
    )
    unlabelled_ratio: float = field(
        default=1.0, metadata={"help": "how many sentences of --unlabelled come with each pair, on average"}
    )


def load_unlabelled(folder: str, prefix: str, source: str, target: str, dictionary: Dictionary) -> LanguagePairDataset:
    """Binarised sentences of the source language, as ``fairseq-preprocess --only-source`` writes them.

    Args:
        folder: of the training data, in which *prefix* is looked for unless it has a folder itself.
        prefix: of the files, ``PREFIX.SOURCE-TARGET.SOURCE.bin`` or ``PREFIX.SOURCE-None.SOURCE.bin``.
        source, target: languages.
        dictionary: of the source language.

    Raises:
        AMIError: no such file, one that has a target as well, or one that is empty or damaged.
    """
    stem = prefix if os.path.dirname(prefix) else os.path.join(folder, prefix)
    names = [f"{stem}.{source}-{target}.", f"{stem}.{source}-None."]
    found = next((name for name in names if _exists(name + source)), None)
    if found is None:
        raise AMIError(
            f"--unlabelled {prefix}: there is no {names[0]}{source}.bin; write it with fairseq-preprocess "
            f"--only-source -s {source} -t {target} --srcdict dict.{source}.txt"
        )
    if _exists(found + target):
        raise AMIError(
            f"--unlabelled {prefix}: it has references as well, {found}{target}.bin: name text without them, or train "
            "on it as pairs"
        )
    nothing = f"--unlabelled {prefix}: {found}{source}.bin holds no sentence"
    if os.path.exists(f"{found}{source}.bin") and os.path.getsize(f"{found}{source}.bin") == 0:
        raise AMIError(nothing)  # fairseq cannot open it
    try:
        sentences = data_utils.load_indexed_dataset(found + source, dictionary)
    except (AssertionError, OSError, ValueError, struct.error) as error:
        raise AMIError(
            f"--unlabelled {prefix}: {found}{source}.bin or its .idx is damaged ({first_line(error)}): write it again"
        ) from error
    if sentences is None or len(sentences) == 0:
        raise AMIError(nothing)
    if getattr(sentences, "supports_prefetch", False):  # fairseq's older format is read before it is used
        sentences.prefetch(range(len(sentences)))
    return LanguagePairDataset(sentences, sentences.sizes, dictionary, left_pad_source=True)


def _exists(path: str) -> bool:
    return bool(indexed_dataset.dataset_exists(path, impl=None) or os.path.exists(path))


class WithUnlabelled(BaseWrapperDataset):
    """Pairs whose batches bring sentences without references along, as the batch ``unlabelled``.

    In an epoch each pair brings *ratio* sentences on average, of about the rank of its own length, so that neither
    padding nor memory grows. Which they are follows from the seed, the epoch and the pair alone: a resume and any
    number of workers see the same. Where the pairs of a batch bring none, one sentence comes marked as ``spare``: it
    counts for nothing, but workers add up only what all of them log.

    Args:
        pairs: the training set.
        unlabelled: the sentences; their ids follow those of the pairs.
        ratio: sentences per pair.
        seed: of the draw.
        epoch: the first one.
        longest: sentences with more symbols are left out; None keeps all.

    Raises:
        AMIError: no ratio above 0, or no sentence short enough.
    """

    def __init__(
        self,
        pairs: LanguagePairDataset,
        unlabelled: LanguagePairDataset,
        ratio: float,
        seed: int,
        epoch: int = 1,
        longest: Optional[int] = None,
    ):
        super().__init__(pairs)
        if not 0 < ratio < math.inf:
            raise AMIError(f"--unlabelled-ratio must be a positive number, not {ratio}")
        self.unlabelled, self.ratio, self.seed = unlabelled, ratio, seed
        sizes = np.asarray(unlabelled.src_sizes)
        self._pool = np.flatnonzero(sizes <= longest) if longest is not None else np.arange(len(sizes))
        if len(self._pool) < len(sizes):
            logger.warning(
                "%d of %d sentences without references are longer than %d symbols: they are left out",
                len(sizes) - len(self._pool), len(sizes), longest,
            )  # fmt: skip
        if len(self._pool) == 0:
            raise AMIError(f"--unlabelled: every sentence is longer than {longest} symbols")
        self._rank = np.empty(len(pairs), dtype=np.int64)  # of each pair by length
        self._rank[np.argsort(pairs.src_sizes, kind="stable")] = np.arange(len(pairs))
        self._epoch = -1
        self.set_epoch(epoch)

    def __getattr__(self, name: str) -> Any:
        # a worker process that unpickles the data set asks for its methods before it has a `dataset`
        if name == "dataset" or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.dataset, name)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """No: processes that load data would keep the sentences of the epoch in which they started."""
        return False

    def set_epoch(self, epoch: int) -> None:
        """Draw the sentences of an epoch. It goes on where the epoch before it stopped: all of them come, in random
        order, before any comes again."""
        super().set_epoch(epoch)
        if epoch == self._epoch:
            return
        self._epoch = epoch
        count, pool = max(1, round(self.ratio * len(self.dataset))), len(self._pool)
        first = (epoch - 1) * count
        rounds = [
            np.random.default_rng([self.seed, Stream.UNLABELLED, turn]).permutation(self._pool)
            for turn in range(first // pool, (first + count - 1) // pool + 1)
        ]
        drawn = np.concatenate(rounds)[first % pool :][:count]
        self._drawn = drawn[np.argsort(np.asarray(self.unlabelled.src_sizes)[drawn], kind="stable")]

    def partners(self, index: int) -> List[int]:
        """Which sentences a pair brings, by their numbers."""
        rank, pairs, count = int(self._rank[index]), len(self.dataset), len(self._drawn)
        return self._drawn[rank * count // pairs : (rank + 1) * count // pairs].tolist()

    def __getitem__(self, index: int) -> Dict[str, Any]:
        place = min(int(self._rank[index]) * len(self._drawn) // len(self.dataset), len(self._drawn) - 1)
        return {
            **self.dataset[index],
            KEY: [self._sentence(number) for number in self.partners(index)],
            SPARE: int(self._drawn[place]),
        }

    def _sentence(self, number: int) -> Dict[str, Any]:
        return {**self.unlabelled[number], "id": len(self.dataset) + number}

    def collater(self, samples: List[Dict[str, Any]], pad_to_length: Optional[Dict[str, int]] = None) -> Dict[str, Any]:
        """The pairs' batch, with the batch of sentences without references under ``unlabelled``."""
        batch = self.dataset.collater(samples, pad_to_length)
        if batch:
            sentences = [sentence for sample in samples for sentence in sample[KEY]]
            batch[KEY] = self.unlabelled.collater(sentences or [self._sentence(samples[0][SPARE])])
            if not sentences:
                batch[KEY][SPARE] = True
        return batch
