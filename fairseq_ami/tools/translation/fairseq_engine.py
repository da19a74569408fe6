"""fairseq's networks behind the interface of ``tools.formats.search``."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from fairseq import utils
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.search import Found, Search
from fairseq_ami.tools.sharing.hub_interface import AMIHubInterface
from fairseq_ami.tools.sharing.text_interface import TextInterface


class FairseqEngine:
    """A pair in one direction, or a single network.

    Args:
        interface: of ``fairseq_ami.hub``; several engines may share a pair's.
        direction: ``forward`` or ``backward`` of a pair; None takes the one that it was loaded in.

    Raises:
        AMIError: a direction of a single network.
    """

    def __init__(self, interface: TextInterface, direction: Optional[str] = None):
        self.interface = interface
        self.pair = interface if isinstance(interface, AMIHubInterface) else None
        if self.pair is None and direction is not None:
            raise AMIError("--direction is for pairs: this checkpoint holds one network")
        self.direction = direction or (self.pair.direction if self.pair else None)

    def _facing(self) -> AbstractContextManager[None]:
        return self.pair.facing(self.direction) if self.pair else nullcontext()

    def reversed(self) -> "FairseqEngine":
        """The other network of the pair.

        Raises:
            AMIError: there is none, or it reads more than a hypothesis.
        """
        if self.pair is None:
            raise AMIError("a single network has no backward network of its own: name one with --backward")
        if self.interface.task.separators:
            raise AMIError("pairs of ami_dialog read a history beside the reply: rerank them with fairseq-ami rerank")
        return FairseqEngine(self.pair, "backward" if self.direction == "forward" else "forward")

    # ------------------------------------------------------------------ text

    @property
    def source_dictionary(self) -> Dictionary:
        """Symbols of what it reads."""
        with self._facing():
            return self.interface.src_dict

    @property
    def target_dictionary(self) -> Dictionary:
        """Symbols of what it writes."""
        with self._facing():
            return self.interface.tgt_dict

    def encode(self, text: str) -> Tensor:
        """Ids of a source with the end symbol, shape (length,)."""
        with self._facing():
            return self.interface.encode(text)

    def decode(self, tokens: Tensor) -> str:
        """Text of a hypothesis."""
        with self._facing():
            return self.interface.decode(tokens)

    def max_positions(self) -> Tuple[int, int]:
        """The longest source and the longest target, end symbols included."""
        with self._facing():
            source, target = self.interface.max_positions
            return int(source), int(target)

    # ------------------------------------------------------------------ hypotheses

    def search(self, sources: Sequence[Tensor], how: Search) -> List[List[Found]]:
        """Hypotheses of each source, best first; samples in the order of the draws.

        Raises:
            AMIError: latent noise without a sample or without a noise network, or more hypotheses than the beam finds.
        """
        if how.noise and not (how.sampling and self.pair):
            raise AMIError("--noise needs --sampling and a pair with a noise network")
        if not how.sampling and how.nbest > how.beam:
            raise AMIError(f"--nbest {how.nbest} is more than --beam {how.beam} finds")
        if not len(sources):
            return []
        with self._facing():
            if how.sampling and self.pair:
                return self._drawn(list(sources), self._samples_of_pair(sources, how), how)
            if how.sampling:
                return self._drawn(list(sources), self._samples_of_fairseq(sources, how), how)
            results = self.interface.generate(list(sources), how.beam, **_options(how))
            return [[_found(result) for result in hypotheses[: how.nbest]] for hypotheses in results]

    def _samples_of_pair(self, sources: Sequence[Tensor], how: Search) -> List[List[Tensor]]:
        """As training draws them: a sample depends on the seed, the number of its sentence and its own number."""
        policy = (how.nbest, how.noise, how.temperature, how.seed, how.topk, how.topp)
        return self.pair.sample_tokens(sources, *policy, how.max_len_a, how.max_len_b + 1, how.first)

    def _samples_of_fairseq(self, sources: Sequence[Tensor], how: Search) -> List[List[Tensor]]:
        utils.set_torch_seed(how.seed + how.first)
        options = {**_options(how), "sampling": True, "temperature": how.temperature}
        options.update(sampling_topk=how.topk or -1, sampling_topp=how.topp if how.topp < 1 else -1.0)
        results = self.interface.generate(list(sources), how.nbest, **options)
        return [[result["tokens"].cpu() for result in hypotheses[: how.nbest]] for hypotheses in results]

    def _drawn(self, sources: List[Tensor], samples: List[List[Tensor]], how: Search) -> List[List[Found]]:
        """The samples with their likelihood under the network itself: no noise, no temperature, nothing cut off."""
        pairs = [(source, tokens) for source, drawn in zip(sources, samples) for tokens in drawn]
        log_probs = iter(self.log_probs(*zip(*pairs)))
        found = []
        for drawn in samples:
            rows = [(tokens, next(log_probs)) for tokens in drawn]
            found.append([Found(tokens, log_p / len(tokens) ** how.lenpen, log_p) for tokens, log_p in rows])
        return found

    def log_probs(self, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> List[float]:
        """log P(target | source) of each pair in nats, end symbol included.

        Raises:
            AMIError: a sentence that is longer than the network reads or writes.
        """
        with self._facing():
            results = self.interface.score_tokens(sources, targets)
        return [float(result["positional_scores"].double().sum()) for result in results]


def _options(how: Search) -> Dict[str, Any]:
    return {
        "nbest": how.nbest,
        "lenpen": how.lenpen,
        "max_len_a": how.max_len_a,
        "max_len_b": how.max_len_b,
        "min_len": how.min_len,
        "no_repeat_ngram_size": how.no_repeat_ngram,
    }


def _found(result: Dict[str, Any]) -> Found:
    log_prob = float(result["positional_scores"].double().sum())
    return Found(result["tokens"].long().cpu(), float(torch.as_tensor(result["score"])), log_prob)
