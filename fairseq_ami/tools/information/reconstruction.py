"""How much of S the backward network's output keeps when it reads T or T' (AMI, Table 2)."""

from argparse import Namespace
from typing import TYPE_CHECKING, List, Optional

import numpy as np
import torch
from torch import Tensor

from fairseq_ami.data.reverse import as_source
from fairseq_ami.metrics.decoded import UNKNOWN_REFERENCE, UNKNOWN_WRITTEN, words_of
from fairseq_ami.metrics.embedding import embedding_average
from fairseq_ami.metrics.word_vectors import WordVectors
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.types import Batch, Network

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation

# the length limit of the search, that of the samples: a * what is read + b symbols
MAX_LEN_A, MAX_LEN_B = 1.5, 10


class Reconstruction:
    """Decodes with a pair's backward network and compares with the real S by the embedding average.

    Args:
        task: of the pairs, forward direction.
        vectors: for the words of the source side.
        beam: of the search.
        post_process: how to undo subwords, e.g. ``"@@ "``, or None.
    """

    def __init__(self, task: "AMITranslation", vectors: WordVectors, beam: int = 1, post_process: Optional[str] = None):
        self.task, self.vectors, self.post_process = task.reversed(), vectors, post_process
        self.settings = Namespace(beam=beam, max_len_a=MAX_LEN_A, max_len_b=MAX_LEN_B)

    def __call__(self, pair: PairedModel, tokens: Tensor, reverse: Batch) -> np.ndarray:
        """Likeness of each sentence's reconstruction to the real S.

        Args:
            pair: a paired model in eval mode.
            tokens: T or T', shape (batch, length).
            reverse: the reversed batch, whose target is S.

        Returns:
            float64 in [-1, 1], shape (batch,).
        """
        pad = self.task.source_dictionary.pad()
        src_tokens, lengths = as_source(tokens, pad, reverse.get("context"), reverse.get("source_limit"))
        written = self._search(pair.backward_model, src_tokens, lengths)
        return embedding_average(
            [self._words(sentence, UNKNOWN_WRITTEN) for sentence in written],
            [self._words(sentence, UNKNOWN_REFERENCE) for sentence in reverse["target"]],
            self.vectors,
        )

    def _words(self, sentence: Tensor, unknown: str) -> List[str]:
        return words_of(self.task.target_dictionary, sentence, self.post_process, unknown)

    def _search(self, network: Network, src_tokens: Tensor, lengths: Tensor) -> List[Tensor]:
        """The best hypothesis of each row."""
        order = lengths.argsort(descending=True, stable=True)  # fairseq's LSTM reads sorted rows only
        generator = self.task.build_generator([network], self.settings)
        batch = {"net_input": {"src_tokens": src_tokens[order], "src_lengths": lengths[order]}}
        with torch.no_grad():
            found = self.task.inference_step(generator, [network], batch)
        places = order.argsort().tolist()
        return [found[place][0]["tokens"] for place in places]
