"""What a reward sees: sources, references and sampled outputs, as text and as ids."""

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence

import torch
from fairseq.data import Dictionary, data_utils
from torch import Tensor

from fairseq_ami.errors import AMIError


@dataclass(frozen=True)
class Sampled:
    """Sampled outputs of a batch. All lists have one entry per sample; the k samples of a source are neighbours.

    Attributes:
        sources: text without subwords.
        outputs: sampled text without subwords; it may be empty.
        references: text without subwords, or None where the batch has none.
        source_ids, output_ids: symbol ids without padding and end symbol.
        reference_ids: the same of the references, or None.
        samples_per_source: k.
    """

    sources: List[str]
    outputs: List[str]
    references: Optional[List[str]]
    source_ids: List[List[int]]
    output_ids: List[List[int]]
    reference_ids: Optional[List[List[int]]]
    samples_per_source: int

    def __len__(self) -> int:
        return len(self.outputs)


class TextReader:
    """Turns ids into text.

    Args:
        source, target: dictionaries.
        post_process: how subwords are undone, as fairseq's ``--post-process`` takes it (``@@ ``,
            ``sentencepiece``, ...); None leaves the symbols as they are.

    Raises:
        AMIError: *post_process* is none of fairseq's.
    """

    def __init__(self, source: Dictionary, target: Dictionary, post_process: Optional[str]):
        try:
            data_utils.post_process("", post_process)
        except NotImplementedError as error:
            raise AMIError(
                f"--reward-post-process {post_process}: fairseq knows '@@ ', sentencepiece, wordpiece, letter, _EOW, "
                "silence and none"
            ) from error
        self.source, self.target, self.post_process = source, target, post_process

    def read(self, source: Tensor, outputs: Tensor, references: Optional[Tensor]) -> Sampled:
        """Read a batch.

        Args:
            source: shape (batch, length), padded anywhere.
            outputs: T', shape (batch * k, length).
            references: T, shape (batch, length), or None.
        """
        k = outputs.size(0) // source.size(0)
        source_ids = _repeated(self._ids(source, self.source), k)
        output_ids = self._ids(outputs, self.target)
        reference_ids = None if references is None else _repeated(self._ids(references, self.target), k)
        return Sampled(
            self._texts(source_ids, self.source, k),
            self._texts(output_ids, self.target, 1),
            None if reference_ids is None else self._texts(reference_ids, self.target, k),
            source_ids,
            output_ids,
            reference_ids,
            k,
        )

    @staticmethod
    def _ids(tokens: Tensor, dictionary: Dictionary) -> List[List[int]]:
        dropped = {dictionary.pad(), dictionary.eos()}
        return [[index for index in row if index not in dropped] for row in tokens.tolist()]

    def _texts(self, rows: Sequence[List[int]], dictionary: Dictionary, k: int) -> List[str]:
        """Rows that stand k times in a row are read once."""
        once = [dictionary.string(torch.tensor(row, dtype=torch.long), self.post_process) for row in rows[::k]]
        return _repeated(once, k)


def _repeated(items: Sequence[Any], k: int) -> List[Any]:
    return [item for item in items for _ in range(k)]
