"""A converted folder, run by CTranslate2: search, samples and scores of sentences given as ids.

All scores are natural logarithms, and lengths count the end symbol, as fairseq's do.
"""

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.ctranslate2_writer import NAME, PAD
from fairseq_ami.tools.formats.optional import needed
from fairseq_ami.tools.formats.record import Record, read_record
from fairseq_ami.tools.formats.search import Found, Search

BATCH = 64  # sentences; CTranslate2 sorts them by length


class CTranslate2Network:
    """One network in one direction.

    Args:
        folder: of ``fairseq-ami export --format ctranslate2``; not the folder of a pair, but one of its networks.
        device: ``cpu``, ``cuda`` or ``auto``.
        threads: of one translation; 0 leaves it to CTranslate2.
        batch_size: sentences that are translated together.

    Raises:
        AMIError: CTranslate2 is missing, or the folder is damaged or of another kind.
    """

    def __init__(self, folder: str, device: str = "cpu", threads: int = 0, batch_size: Optional[int] = None):
        ctranslate2 = needed(NAME, f"--engine {NAME}")
        self.record = converted_record(folder)
        if self.record.pair:
            raise AMIError(f"{folder} holds a pair: name one of its networks, {folder}/{self.record.pair[0]}")
        names = [os.path.join(folder, f"dict.{language}.txt") for language in self.record.languages]
        for path in names:
            if not os.path.isfile(path):
                raise AMIError(f"there is no {path}: the folder is not whole, export the network again")
        self.folder, self.batch_size = folder, batch_size or BATCH
        self.source_dictionary, self.target_dictionary = (Dictionary.load(path) for path in names)
        self._seed = ctranslate2.set_random_seed
        try:
            self._translator = ctranslate2.Translator(folder, device=device, intra_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise AMIError(f"CTranslate2 cannot load {folder}: {error}") from error

    def max_positions(self) -> Tuple[int, int]:
        """The longest source and the longest target, end symbols included."""
        source, target = self.record.limits
        return source, target

    # ------------------------------------------------------------------ search and samples

    def search(self, sources: Sequence[Tensor], how: Search) -> List[List[Found]]:
        """Hypotheses of every source, best first.

        Args:
            sources: ids with the end symbol, shape (length,).

        Raises:
            AMIError: a source that is longer than the network reads, or settings that CTranslate2 does not have.
        """
        if how.noise or how.max_len_a:
            option = "--noise" if how.noise else "--max-len-a"
            raise AMIError(f"--engine {NAME} does not have {option}: leave it out, or take --engine fairseq")
        for number, tokens in enumerate(sources, 1):
            if len(tokens) > self.max_positions()[0]:
                raise AMIError(
                    f"sentence {number} has {len(tokens)} symbols, the network reads {self.record.limits[0]}"
                )
        if not how.sampling and how.nbest > how.beam:
            raise AMIError(f"--nbest {how.nbest} is more than --beam {how.beam} finds")
        if not len(sources):
            return []
        texts = [self._symbols(self.source_dictionary, tokens) for tokens in sources]
        results = self._translator.translate_batch(texts, **self._options(how))
        ids = [[self._ids(self.target_dictionary, words) for words in result.hypotheses] for result in results]
        pairs = [(source, tokens) for source, hypotheses in zip(sources, ids) for tokens in hypotheses]
        log_probs = iter(self.log_probs(*zip(*pairs)))
        return [self._found(hypotheses, log_probs, how) for hypotheses in ids]

    def _options(self, how: Search) -> Dict[str, Any]:
        """Settings of CTranslate2 under which it searches as fairseq does."""
        options: Dict[str, Any] = {
            "max_batch_size": self.batch_size,
            "batch_type": "examples",
            "num_hypotheses": how.nbest,
            "length_penalty": how.lenpen,
            "max_input_length": 0,  # checked already; by default the end would be cut off
            "max_decoding_length": min(how.max_len_b, self.max_positions()[1] - 1),
            "min_decoding_length": how.min_len,
            "no_repeat_ngram_size": how.no_repeat_ngram,
            "suppress_sequences": [[PAD]],  # fairseq never writes padding
            "beam_size": how.beam,
        }
        if how.sampling:
            self._seed(how.seed + how.first)
            whole = {"sampling_topk": how.topk, "sampling_topp": how.topp, "sampling_temperature": how.temperature}
            options.update(whole, beam_size=1)
        return options

    @staticmethod
    def _found(hypotheses: Sequence[Tensor], log_probs: Iterator[float], how: Search) -> List[Found]:
        """With scores of their own: CTranslate2's are of a distribution without the words that it may not write."""
        rows = [(tokens, next(log_probs)) for tokens in hypotheses]
        found = [Found(tokens, log_prob / len(tokens) ** how.lenpen, log_prob) for tokens, log_prob in rows]
        return found if how.sampling else sorted(found, key=lambda row: -row.score)

    # ------------------------------------------------------------------ scores

    def log_probs(self, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> List[float]:
        """log P(target | source) of each pair in nats, end symbol included.

        Args:
            sources, targets: ids with their end symbols, shape (length,).

        Raises:
            AMIError: a sentence that is longer than the network reads or writes.
        """
        for side, tokens, limit in zip("SP", (sources, targets), self.max_positions()):
            longest = max(map(len, tokens), default=0)
            if longest > limit:
                what = "read" if side == "S" else "written"
                raise AMIError(
                    f"a sentence to be {what} has {longest} symbols, the network in {self.folder} takes {limit}"
                )
        if not len(sources):
            return []
        found = self._translator.score_batch(
            [self._symbols(self.source_dictionary, tokens) for tokens in sources],
            [self._symbols(self.target_dictionary, tokens) for tokens in targets],
            max_batch_size=self.batch_size,
            batch_type="examples",
            max_input_length=0,
        )
        return [float(sum(score.log_probs)) for score in found]

    # ------------------------------------------------------------------ ids and symbols

    @staticmethod
    def _symbols(dictionary: Dictionary, tokens: Tensor) -> List[str]:
        """Without the end symbol, which CTranslate2 adds."""
        return [dictionary[index] for index in tokens.tolist()[:-1]]

    @staticmethod
    def _ids(dictionary: Dictionary, words: Sequence[str]) -> Tensor:
        return torch.tensor([*map(dictionary.index, words), dictionary.eos()])


def converted_record(folder: str) -> Record:
    """The record of a folder of CTranslate2.

    Raises:
        AMIError: it is of another kind.
    """
    if not os.path.isdir(folder):
        raise AMIError(f"--engine {NAME} takes a folder of fairseq-ami export --format {NAME}: {folder} is none")
    record = read_record(folder)
    if record.format != NAME:
        raise AMIError(f"{folder} was exported for {record.format}, not for {NAME}")
    return record


def network_folder(path: str, direction: Optional[str]) -> str:
    """The folder of one network.

    Args:
        path: a converted folder, of one network or of a pair.
        direction: ``forward`` or ``backward``; None takes the forward network of a pair, or what the folder holds.

    Raises:
        AMIError: the folder holds one network, and it is of the other direction.
    """
    record = converted_record(path)
    if record.pair:
        return str(Path(path, direction or record.pair[0]))
    if direction and record.direction and direction != record.direction:
        raise AMIError(f"{path} holds the {record.direction} network of a pair alone: export the pair with --pair")
    return path


def folder_between(path: str, languages: Tuple[str, str], what: str) -> str:
    """The folder of the network that translates between *languages*.

    Args:
        path: a converted folder, of one network or of a pair.
        languages: source and target.
        what: the option that named it, for messages.

    Raises:
        AMIError: there is none.
    """
    record = converted_record(path)
    folders = [str(Path(path, name)) for name in record.pair] or [path]
    for folder in folders:
        if converted_record(folder).languages == tuple(languages):
            return folder
    raise AMIError(f"{what}: {path} holds no network for {languages[0]} -> {languages[1]}")
