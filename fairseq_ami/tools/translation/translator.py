"""Lines of text through an engine: n-best lists and samples, reranked by the backward network where it is asked."""

from dataclasses import dataclass, replace
from typing import List, Optional, Sequence

import numpy as np
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.search import Engine, Found, Search
from fairseq_ami.tools.reranking import scores as reranking
from fairseq_ami.tools.reranking.nbest import Candidates, Hypothesis


@dataclass(frozen=True)
class Translated:
    """A hypothesis of a line.

    Attributes:
        text: of the hypothesis.
        score: what the hypotheses are ordered by: log P / length ** lenpen, after reranking the weighted sum.
        log_p: log P(T'|S) in nats.
        log_q: log Q(S|T') in nats; None without reranking.
    """

    text: str
    score: float
    log_p: float
    log_q: Optional[float] = None


@dataclass(frozen=True)
class Reranking:
    """Order hypotheses by score + weight * log Q(S|T') / |S| + length_weight * |T'| / |S|.

    Attributes:
        backward: the network Q(S|T').
        weight, length_weight: the two weights, lambda and gamma of ``fairseq-ami rerank``.
    """

    backward: Engine
    weight: float
    length_weight: float = 0.0


class Translator:
    """Translates lines.

    Args:
        engine: the network that writes.
        how: the search or the draw.
        reranking: None keeps the order of the search.

    Raises:
        AMIError: a backward network of other dictionaries.
    """

    def __init__(self, engine: Engine, how: Search, reranking: Optional[Reranking] = None):
        self.engine, self.how, self.reranking = engine, how, reranking
        if reranking is not None:
            _check_dictionaries(engine, reranking.backward)
            # the backward network must be able to read what the search writes
            longest = reranking.backward.max_positions()[0] - 1
            self.how = replace(how, max_len_b=min(how.max_len_b, longest))

    def translate(self, lines: Sequence[str], first: int = 0) -> List[List[Translated]]:
        """The ``nbest`` hypotheses of every line, best first; none of an empty line.

        Args:
            lines: sources.
            first: number of the first line in the whole text, from 0 on, for messages and draws.

        Raises:
            AMIError: a line that is longer than the network reads.
        """
        full = [number for number, line in enumerate(lines) if line.strip()]
        sources = [self._encoded(lines[number], first + number) for number in full]
        how = replace(self.how, first=first)
        if self.reranking is not None and not how.sampling:
            how = replace(how, nbest=how.beam)  # the choice is among all that the search finds
        lists = self.engine.search(sources, how)
        done = self._reranked(sources, lists) if self.reranking else [list(map(self._shown, found)) for found in lists]
        result: List[List[Translated]] = [[] for _ in lines]
        for number, hypotheses in zip(full, done):
            result[number] = hypotheses[: self.how.nbest]
        return result

    def _encoded(self, line: str, number: int) -> Tensor:
        tokens, limit = self.engine.encode(line), self.engine.max_positions()[0]
        if len(tokens) > limit:
            raise AMIError(f"line {number + 1} has {len(tokens)} symbols, the network reads {limit}: split it")
        return tokens

    def _shown(self, found: Found) -> Translated:
        return Translated(self.engine.decode(found.tokens), found.score, found.log_prob)

    def _reranked(self, sources: Sequence[Tensor], lists: Sequence[Sequence[Found]]) -> List[List[Translated]]:
        """The same formula and the same treatment of impossible hypotheses as ``fairseq-ami rerank``."""
        asked = self.reranking
        if not lists:
            return []
        pairs = [(hyp.tokens, source) for source, found in zip(sources, lists) for hyp in found]
        log_q = np.array(asked.backward.log_probs(*zip(*pairs)))
        split = np.split(log_q, np.cumsum([len(found) for found in lists])[:-1])
        terms = reranking.features([self._candidates(*row) for row in zip(sources, lists)], split)
        total = terms.forward + asked.weight * terms.backward + asked.length_weight * terms.length
        done = []
        for found, values, scores in zip(lists, split, total):
            order = np.argsort(-scores[: len(found)], kind="stable")
            shown = [replace(self._shown(found[i]), score=float(scores[i]), log_q=float(values[i])) for i in order]
            done.append(shown)
        return done

    @staticmethod
    def _candidates(source: Tensor, found: Sequence[Found]) -> Candidates:
        hypotheses = tuple(Hypothesis(hyp.tokens, hyp.score, hyp.log_prob, "") for hyp in found)
        return Candidates(source, None, hypotheses)


def _check_dictionaries(engine: Engine, backward: Engine) -> None:
    written = (engine.source_dictionary, engine.target_dictionary)
    for ours, theirs in zip(written, (backward.target_dictionary, backward.source_dictionary)):
        if ours.symbols != theirs.symbols:
            raise AMIError(
                "the backward network has other dictionaries than the one that translates: both must come from one "
                "preparation of the data"
            )
