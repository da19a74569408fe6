"""A converted folder, run by CTranslate2: search, samples and scores of sentences given as ids.

All scores are natural logarithms, and lengths count the end symbol, as fairseq's do.
"""

import math
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.ctranslate2_writer import NAME, PAD
from fairseq_ami.tools.formats.optional import needed
from fairseq_ami.tools.formats.record import Record, read_record
from fairseq_ami.tools.formats.search import Found, Search

BATCH = 64  # sentences; CTranslate2 sorts them by length
END = "</s>"
_WITHOUT_PADDING = {"suppress_sequences": [[PAD]]}


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
        self._make = lambda: ctranslate2.Translator(folder, device=device, intra_threads=threads)
        try:
            self._translator = self._make()
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
        options = self._options(how)
        if how.sampling:
            self._seed(how.seed + how.first)
            self._translator = self._make()  # only threads that start after it was set take the seed
        results = self._translator.translate_batch(texts, **options)
        if how.sampling:
            return self._drawn(sources, results, how)
        corrections: List[Optional[float]] = [*self._first_step(texts)]
        padded = [i for i, result in enumerate(results) if any(PAD in words for words in result.hypotheses)]
        if padded:  # a network that was hardly trained; fairseq never writes padding
            again = self._translator.translate_batch([texts[i] for i in padded], **options, **_WITHOUT_PADDING)
            for i, result in zip(padded, again):
                results[i], corrections[i] = result, None
        return [self._ordered(*row, how)[: how.nbest] for row in zip(sources, results, corrections)]

    def _options(self, how: Search) -> Dict[str, Any]:
        """Settings of CTranslate2 under which it searches as fairseq does."""
        options: Dict[str, Any] = {
            "max_batch_size": self.batch_size,
            "batch_type": "examples",
            "num_hypotheses": how.nbest if how.sampling else how.beam,
            "length_penalty": how.lenpen,
            "max_input_length": 0,  # checked already; by default the end would be cut off
            "max_decoding_length": self._longest(how) + 1,  # the end symbol counts here
            "min_decoding_length": how.min_len,
            "no_repeat_ngram_size": how.no_repeat_ngram,
            "return_scores": True,
            "return_end_token": True,
            "beam_size": how.beam,
        }
        if how.sampling:
            whole = {"sampling_topk": how.topk, "sampling_topp": how.topp, "sampling_temperature": how.temperature}
            options.update(whole, beam_size=1, **_WITHOUT_PADDING)
        return options

    def _longest(self, how: Search) -> int:
        return min(how.max_len_b, self.max_positions()[1] - 1)

    def _first_step(self, texts: List[List[str]]) -> List[float]:
        """log(1 - P(end | source, nothing written yet)) of each source.

        CTranslate2 takes the end symbol out of the distribution before it is normalised, while no sentence may end yet;
        fairseq takes it out afterwards. Everything that CTranslate2 finds for a source is too likely by this factor.
        """
        nothing: List[List[str]] = [[] for _ in texts]
        ends = self._translator.score_batch(texts, nothing, max_batch_size=self.batch_size, batch_type="examples",
                                            max_input_length=0)  # fmt: skip
        return [math.log1p(-min(math.exp(sum(end.log_probs)), 1 - 1e-12)) for end in ends]

    def _ordered(self, source: Tensor, result: Any, correction: Optional[float], how: Search) -> List[Found]:
        """The hypotheses of a source with fairseq's scores, best first; without *correction* each is scored anew."""
        found = []
        same_distribution = correction is not None and how.min_len == 1 and how.no_repeat_ngram == 0
        for words, score in zip(result.hypotheses, result.scores):
            tokens = self._ids(words, how)
            if words[-1:] == [END] and same_distribution:
                log_prob = score * len(tokens) ** how.lenpen + correction
            else:  # where it was cut off, fairseq counts the end symbol that it puts there
                (log_prob,) = self.log_probs([source], [tokens])
            found.append(Found(tokens, log_prob / len(tokens) ** how.lenpen, log_prob))
        return sorted(found, key=lambda row: -row.score)

    def _drawn(self, sources: Sequence[Tensor], results: Sequence[Any], how: Search) -> List[List[Found]]:
        """The samples with their likelihood under the network itself: no temperature, nothing cut off."""
        samples = [[self._ids(words, how) for words in result.hypotheses] for result in results]
        pairs = [(source, tokens) for source, drawn in zip(sources, samples) for tokens in drawn]
        log_probs = iter(self.log_probs(*zip(*pairs)))
        rows = [[(tokens, next(log_probs)) for tokens in drawn] for drawn in samples]
        return [[Found(tokens, log_p / len(tokens) ** how.lenpen, log_p) for tokens, log_p in drawn] for drawn in rows]

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

    def _ids(self, words: Sequence[str], how: Search) -> Tensor:
        """Ids of a hypothesis that is cut to the longest length; it gets the end symbol that fairseq would force."""
        inside = [word for word in words if word != END][: self._longest(how)]
        dictionary = self.target_dictionary
        ids = [dictionary.pad() if word == PAD else dictionary.index(word) for word in inside]
        return torch.tensor([*ids, dictionary.eos()])


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
