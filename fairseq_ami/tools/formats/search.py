"""How hypotheses are asked for, and what comes back, whichever engine finds them."""

from dataclasses import dataclass
from typing import List, Protocol, Sequence, Tuple

from fairseq.data import Dictionary
from torch import Tensor


@dataclass(frozen=True)
class Search:
    """A search or a draw, in fairseq's terms.

    Attributes:
        beam: width of the beam.
        nbest: hypotheses of a source; of a draw the number of samples.
        lenpen: a score is log P divided by length ** lenpen.
        max_len_a, max_len_b: the longest hypothesis has a * |S| + b symbols, its end symbol not counted.
        min_len: the shortest hypothesis, its end symbol not counted.
        no_repeat_ngram: no n-gram of this size comes twice; 0 allows it.
        sampling: draw *nbest* hypotheses instead of searching.
        topk, topp: cut the distribution that is drawn from; 0 and 1 leave it whole.
        temperature: divides the logits.
        noise: a draw of the latent noise for each sample.
        seed: of the draws.
        first: number of the first source; with the seed it fixes the draws.
    """

    beam: int = 5
    nbest: int = 1
    lenpen: float = 1.0
    max_len_a: float = 0.0
    max_len_b: int = 200
    min_len: int = 1
    no_repeat_ngram: int = 0
    sampling: bool = False
    topk: int = 0
    topp: float = 1.0
    temperature: float = 1.0
    noise: bool = False
    seed: int = 1
    first: int = 0


@dataclass(frozen=True)
class Found:
    """A hypothesis.

    Attributes:
        tokens: ids with the end symbol, shape (length,).
        score: log P / length ** lenpen; the length counts the end symbol.
        log_prob: log P of the hypothesis given its source, in nats, without noise.
    """

    tokens: Tensor
    score: float
    log_prob: float


class Engine(Protocol):
    """One network in one direction, or several that decide together; it reads and writes text and ids."""

    @property
    def source_dictionary(self) -> Dictionary:
        """Symbols of what it reads."""

    @property
    def target_dictionary(self) -> Dictionary:
        """Symbols of what it writes."""

    def encode(self, text: str) -> Tensor:
        """Ids of a source with the end symbol, shape (length,)."""

    def decode(self, tokens: Tensor) -> str:
        """Text of a hypothesis."""

    def max_positions(self) -> Tuple[int, int]:
        """The longest source and the longest target, end symbols included."""

    def search(self, sources: Sequence[Tensor], how: Search) -> List[List[Found]]:
        """Hypotheses of each source, best first; samples in the order of the draws."""

    def log_probs(self, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> List[float]:
        """log P(target | source) of each pair in nats, end symbol included."""
