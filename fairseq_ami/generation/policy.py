"""The distribution that training samples come from, and their log-probability under it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Optional, Tuple

import torch
from torch import Tensor

FIRST_ORDERED = 64  # symbols that top-p puts in order at first


@dataclass(frozen=True)
class Policy:
    """P(T'|S) as it is sampled: temperature, top-k and top-p, without the symbols that no text holds.

    Sampling and rescoring both go through :meth:`log_probs`, so that the gradient is that of the
    distribution which drew the samples.

    Args:
        banned: symbol ids that are never drawn (padding, begin of sentence).
        temperature: divides the logits.
        topk: keep the k likeliest symbols; 0 keeps all.
        topp: keep the smallest set of likeliest symbols with at least this probability; 1 keeps all.
    """

    banned: Tuple[int, ...]
    temperature: float = 1.0
    topk: int = 0
    topp: float = 1.0

    def log_probs(self, logits: Tensor, drawn: Optional[Tensor] = None) -> Tensor:
        """Normalised log-probabilities, float32, of the shape of *logits* (..., vocabulary).

        Args:
            drawn: symbols that top-k and top-p keep in any case, shape (...). Logits of half precision move a little
                between drawing and scoring: a symbol that was kept may now be just outside. None adds no symbol.
        """
        logits = logits.float()
        if self.temperature != 1.0:
            logits = logits / self.temperature
        if self.banned:
            logits = logits.index_fill(-1, symbols(self.banned, logits.device), float("-inf"))
        if self.topk > 0 or self.topp < 1.0:
            cut = self._cut(logits.detach())
            if drawn is not None:
                cut = cut.scatter(-1, drawn.unsqueeze(-1), False)
            logits = logits.masked_fill(cut, float("-inf"))
        return torch.log_softmax(logits, dim=-1)

    def choose(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """One symbol per row, shape (rows,), from logits (rows, vocabulary) and one number in (0, 1) a row."""
        return draw(self.log_probs(logits), uniform)

    def _cut(self, logits: Tensor) -> Tensor:
        """True where top-k or top-p drops a symbol."""
        cut = torch.zeros_like(logits, dtype=torch.bool)
        if 0 < self.topk < logits.size(-1):
            cut |= logits < logits.topk(self.topk, dim=-1).values[..., -1:]
        if self.topp < 1.0:
            cut |= self._outside_nucleus(logits)
        return cut

    def _outside_nucleus(self, logits: Tensor) -> Tensor:
        """True where top-p drops a symbol. Only the likeliest symbols are put in order, as many as hold the nucleus."""
        size, total = logits.size(-1), logits.logsumexp(-1, keepdim=True)
        ordered = min(FIRST_ORDERED, size)
        while True:
            values, index = logits.topk(ordered, dim=-1)
            probability = (values - total).exp()
            if ordered == size or bool((probability.sum(-1) >= self.topp).all()):
                break
            ordered = min(8 * ordered, size)
        before = probability.cumsum(-1) - probability
        return torch.ones_like(logits, dtype=torch.bool).scatter(-1, index, before >= self.topp)


@lru_cache(maxsize=None)
def symbols(ids: Tuple[int, ...], device: torch.device) -> Tensor:
    """*ids* on *device*, shape (len(ids),): copied once, since every copy makes the host wait for the device."""
    return torch.tensor(ids, device=device)


def draw(log_probs: Tensor, uniform: Tensor) -> Tensor:
    """Inverse-CDF sampling: one symbol per row from one uniform number a row.

    Args:
        log_probs: shape (rows, vocabulary).
        uniform: numbers in (0, 1), shape (rows,).

    Returns:
        Symbol ids, shape (rows,). A symbol of probability 0 is never drawn.
    """
    cdf = log_probs.exp().cumsum(-1)
    # the sum is 1 only to rounding: scale the threshold instead of clamping the result
    threshold = uniform.unsqueeze(1) * cdf[:, -1:]
    chosen = torch.searchsorted(cdf, threshold, right=True).clamp(max=cdf.size(1) - 1)
    # a parallel cumulative sum may fall by a rounding error, and the search then stop at a forbidden symbol
    possible = log_probs.gather(1, chosen).isfinite()
    # a device would have to be waited for, only to hear that there is nothing to mend
    if not (possible.is_cpu and possible.all()):
        chosen = torch.where(possible, chosen, log_probs.argmax(1, keepdim=True))
    return chosen.squeeze(1)
