"""The adversary's side: AMI's backward network (equations 10, 11, 13), and a discriminator (Goodfellow et al. 2014)."""

from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FAKE_LOSSES = ("log-likelihood", "unlikelihood", "hinge")


def average_word(embedding: Tensor, counts: Tensor) -> Tensor:
    """Embedding of the average word of a text: the mean over words, weighted by *counts*; float32, shape (dim,)."""
    weights = counts.to(embedding.device, torch.float32)
    return weights @ embedding.detach().float() / weights.sum()


def words_of(tokens: Tensor, skip: Sequence[int]) -> Tensor:
    """True where a token is none of the symbols in *skip*; of the shape of *tokens*."""
    # one by one: torch.isin wants them on the device, and a copy there makes the host wait
    words = torch.ones_like(tokens, dtype=torch.bool)
    for symbol in skip:
        words &= tokens.ne(symbol)
    return words


def mean_embedding(tokens: Tensor, embedding: Tensor, skip: Sequence[int], center: Optional[Tensor] = None) -> Tensor:
    """Average embedding of the words of each sentence, less *center*; float32, shape (batch, dim).

    Symbols in *skip* (padding, begin, end) are not words; a sentence of none gives the zero vector.
    """
    words = words_of(tokens, skip)
    vectors = F.embedding(tokens, embedding.detach()).float()
    if center is not None:
        vectors = vectors - center
    total = (vectors * words.unsqueeze(-1)).sum(1)
    return total / words.sum(1, keepdim=True).clamp(min=1)


def cosine_multiplier(
    target: Tensor, sampled: Tensor, embedding: Tensor, skip: Sequence[int], center: Optional[Tensor] = None
) -> Tensor:
    """K(T') = 1 - cos(T, T') of the mean embeddings (equation 11).

    Args:
        target: real sentences T, shape (rows, length).
        sampled: sentences T', shape (rows, other length).
        embedding: target-side embedding matrix, shape (vocabulary, dim); no positions, no dropout.
        skip: ids that are not words.
        center: what all embeddings have in common, shape (dim,), taken off first (Mu and Viswanath, 2018). The mean
            of many words lies near it whatever they are, so that without this long and common T' count as alike.

    Returns:
        Between 0 (same words) and 2, float32, no gradient, shape (rows,); 1 where a sentence is empty.
    """
    real = mean_embedding(target, embedding, skip, center)
    fake = mean_embedding(sampled, embedding, skip, center)
    return 1.0 - F.cosine_similarity(real, fake, dim=1)


def fake_loss(log_q: Tensor, mask: Tensor, kind: str, margin: float) -> Tensor:
    """What the backward network minimises on a sampled pair (S, T'), summed over the tokens of S.

    * ``log-likelihood``: log Q, the paper's term. Its gradient grows as the pair gets unlikelier,
      so only the weight clipping bounds it.
    * ``unlikelihood``: -log(1 - Q) a token (Welleck et al., 2020); fades out as Q goes to 0.
    * ``hinge``: log Q a token until it has fallen to -margin, then nothing.

    Args:
        log_q: log Q(s_i | s_<i, T'), shape (rows, length).
        mask: True at tokens of S, shape (rows, length).
        kind: one of the above.
        margin: for ``hinge``, in nats per token, positive.

    Returns:
        shape (rows,).

    Raises:
        ValueError: unknown *kind*.
    """
    log_q = log_q.float()
    if kind == "log-likelihood":
        terms = log_q
    elif kind == "unlikelihood":
        # 1 - q in a form that keeps its digits; q = 1 exactly would give an infinite loss
        terms = -torch.log(-torch.expm1(log_q.clamp(max=-1e-6)))
    elif kind == "hinge":
        terms = F.relu(log_q + margin)
    else:
        raise ValueError(f"unknown fake loss {kind!r}: choose one of {', '.join(FAKE_LOSSES)}")
    return terms.masked_fill(~mask, 0.0).sum(1)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises: its cross-entropy over a real and a sampled text, half of each.

    Args:
        real: logits of "real" on real text, shape (batch,).
        fake: the same on k sampled texts per source, shape (batch, k).

    Returns:
        Nats per text, float32, log 2 where it guesses; shape (batch,).
    """
    return 0.5 * (F.softplus(-real.float()) + F.softplus(fake.float()).mean(1))
