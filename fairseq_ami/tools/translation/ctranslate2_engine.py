"""A converted folder that reads and writes text."""

from typing import Any, Dict, Optional

from fairseq.data import encoders
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fairseq_ami.tools.formats.ctranslate2_network import CTranslate2Network


class CTranslate2Engine(CTranslate2Network):
    """An engine of ``tools.formats.search``, with the tokenizer and the codes that the folder records.

    Args:
        folder, device, threads, batch_size: of :class:`CTranslate2Network`.

    Raises:
        AMIError: see there.
    """

    def __init__(self, folder: str, device: str = "cpu", threads: int = 0, batch_size: Optional[int] = None):
        super().__init__(folder, device, threads, batch_size)
        bpe = self.record.bpe
        if bpe and bpe.get("bpe_codes"):
            bpe = {**bpe, "bpe_codes": f"{folder}/{bpe['bpe_codes']}"}
        self._tokenizer = encoders.build_tokenizer(_settings(self.record.tokenizer))
        self._bpe = encoders.build_bpe(_settings(bpe))

    def encode(self, text: str) -> Tensor:
        """Ids of a source with the end symbol, shape (length,)."""
        for step in filter(None, (self._tokenizer, self._bpe)):
            text = step.encode(text)
        return self.source_dictionary.encode_line(text, add_if_not_exist=False).long()

    def decode(self, tokens: Tensor) -> str:
        """Text of a hypothesis."""
        text = self.target_dictionary.string(tokens)
        for step in filter(None, (self._bpe, self._tokenizer)):
            text = step.decode(text)
        return text


def _settings(part: Optional[Dict[str, Any]]) -> Optional[DictConfig]:
    return None if part is None else OmegaConf.create(part)
