"""Text metrics of decoded replies during validation, exact over several workers."""

import json
from argparse import Namespace
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple

import torch.distributed
from fairseq import utils
from fairseq.data import Dictionary
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask

from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.decoded import UNKNOWN_REFERENCE, UNKNOWN_WRITTEN, vectors_of_words, words_of
from fairseq_ami.metrics.replies import DISTINCT, EMBEDDING, ENTROPY, ReplyStatistics
from fairseq_ami.types import Search

PREFIX = "reply_"  # of the names in the logs
LOGGED = (*(f"dist_{n}" for n in DISTINCT), f"ent_{ENTROPY}", "bleu", "length", "repetition")

Batch = Tuple[Tuple[int, ...], ReplyStatistics]  # sentence ids, and what their replies add up to


@dataclass
class ReplySettings:
    eval_replies: bool = field(
        default=False,
        metadata={
            "help": "decode replies at validation and log reply_dist_1, reply_dist_2, reply_ent_4, reply_bleu, "
            "reply_length, reply_repetition; with vectors reply_average, reply_greedy, reply_extrema"
        },
    )
    eval_replies_args: str = field(
        default='{"beam": 1}',
        metadata={"help": 'how --eval-replies decodes, as JSON, e.g. \'{"beam": 4, "max_len_b": 50}\''},
    )
    eval_replies_vectors: Optional[str] = field(
        default=None,
        metadata={"help": "word vectors of GloVe or word2vec, as text, for the embedding metrics of --eval-replies"},
    )
    eval_replies_remove_bpe: Optional[str] = field(
        default=None, metadata={"help": "undo subwords before --eval-replies measures", "argparse_const": "@@ "}
    )


def generation_args(text: str) -> Namespace:
    """Settings of ``--eval-replies-args``.

    Raises:
        AMIError: no JSON object.
    """
    try:
        return Namespace(**json.loads(text))
    except (json.JSONDecodeError, TypeError) as error:
        raise AMIError(f"--eval-replies-args is no JSON object of generation settings: {text!r} ({error})") from error


class ReplyValidation:
    """Decodes batches of the validation set, adds up the replies of all workers, and logs their metrics.

    Args:
        dictionary: of the replies.
        generator: fairseq's.
        vectors: text file of word vectors, or None.
        post_process: how to undo subwords, or None.

    Raises:
        AMIError: vectors that cannot be read.
    """

    def __init__(self, dictionary: Dictionary, generator: Search, vectors: Optional[str], post_process: Optional[str]):
        self.dictionary, self.generator, self.post_process = dictionary, generator, post_process
        self.vectors = vectors_of_words(vectors, dictionary, post_process) if vectors else None
        self.names = (*(EMBEDDING if vectors else ()), *LOGGED)
        self._pending: List[Batch] = []
        self._pass: Optional[MetersDict] = None
        self.start()

    def start(self, validation: Optional[MetersDict] = None) -> None:
        """Forget all replies: those of another validation or another set (*validation* tells which) follow."""
        self._pass = validation
        self._counted: Set[int] = set()
        self._statistics = ReplyStatistics()
        self._figures: Dict[str, float] = {}

    def decode(self, task: FairseqTask, model: BaseFairseqModel, sample: Mapping[str, Any]) -> None:
        """Decode a batch; :meth:`log` adds it up."""
        statistics = ReplyStatistics()
        results = task.inference_step(self.generator, [model], sample)
        for target, (best, *_) in zip(sample["target"], results):
            reference = utils.strip_pad(target, self.dictionary.pad())
            reply = words_of(self.dictionary, best["tokens"], self.post_process, UNKNOWN_WRITTEN)
            real = words_of(self.dictionary, reference, self.post_process, UNKNOWN_REFERENCE)
            statistics.add(reply, real, vectors=self.vectors)
        self._pending.append((tuple(sample["id"].tolist()), statistics))

    def log(self, workers: int) -> None:
        """Add up what all workers have decoded, and log; collective over the *workers*.

        fairseq reduces the logs of each validation batch on all workers at once, and asks for the derived figures
        at the end. A worker that has run out of data repeats a batch, which must not count twice.
        """
        if not self._pending:  # a training step
            return
        root = metrics.get_active_aggregators()[0]
        if root is not self._pass:
            self.start(root)
        gathered = [self._pending]
        if workers > 1:
            gathered = [[] for _ in range(workers)]
            group = distributed_utils.get_data_parallel_group()
            torch.distributed.all_gather_object(gathered, self._pending, group=group)
        for ids, statistics in (batch for batches in gathered for batch in batches):
            if not self._counted.issuperset(ids):
                self._counted.update(ids)
                self._statistics.merge(statistics)
        self._pending, self._figures = [], {}
        for name in self.names:
            metrics.log_derived(f"{PREFIX}{name}", partial(self._figure, name))

    def _figure(self, name: str, meters: MetersDict) -> float:
        self._figures = self._figures or self._statistics.result()
        return round(self._figures[name], 4)
