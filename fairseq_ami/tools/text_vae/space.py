"""What the latent space of a text VAE looks like: posteriors of sentences, points between them, nearest neighbours."""

import logging
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary, ListDataset
from torch import Tensor

from fairseq_ami.data.sentences import SentenceDataset, batches_by_length
from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.types import Progress

logger = logging.getLogger(__name__)

# rows of the data set that are compared with the queries at a time
_ROWS = 10_000


def read_sentences(lines: Sequence[str], dictionary: Dictionary, longest: int, where: str) -> SentenceDataset:
    """Tokenised sentences as the model reads them; words that it does not know become ``<unk>``, with a warning.

    Args:
        lines: words separated by blanks.
        longest: tokens that the model reads, the end symbol included.
        where: they come from, for messages.

    Raises:
        AMIError: no line, an empty one, or one that is too long.
    """
    if not lines:
        raise AMIError(f"{where}: there is no sentence")
    found: List[Tensor] = []
    unknown: Dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        place = f"{where}, line {number}" if len(lines) > 1 else where
        if not words:
            raise AMIError(f"{place}: the line is empty, and an empty sentence has no posterior: leave it out")
        if len(words) >= longest:
            raise AMIError(
                f"{place}: {len(words)} words and the end symbol are more than the {longest} that the model reads"
            )
        ids = [dictionary.index(word) for word in words]
        unknown.update((w, None) for w, i in zip(words, ids) if i == dictionary.unk() and w != dictionary.unk_word)
        found.append(torch.tensor([*ids, dictionary.eos()]))
    if unknown:
        shown = ", ".join(list(unknown)[:20]) + (", ..." if len(unknown) > 20 else "")
        logger.warning("%s: %d words are not in the dictionary and read as <unk>: %s", where, len(unknown), shown)
    return SentenceDataset(ListDataset(found, [len(tokens) for tokens in found]), dictionary, False)


@torch.no_grad()
def posteriors(
    model: TextVAE, dataset: SentenceDataset, max_tokens: int, progress: Progress = lambda items, what: items
) -> DiagonalGaussian:
    """q(z|x) of every sentence, in their order, on the CPU.

    Args:
        model: a :class:`fairseq_ami.models.text_vae.TextVAE` in eval mode, with an encoder.
        max_tokens: sentences x longest sentence that go through the encoder at a time.
    """
    mean = torch.empty(len(dataset), model.latent_dim)
    log_variance = torch.empty_like(mean)
    device = next(model.parameters()).device
    max_tokens = max(max_tokens, int(dataset.sizes.max()))
    for rows in progress(batches_by_length(dataset, np.arange(len(dataset)), max_tokens), "posteriors"):
        tokens = dataset.collater([dataset[int(row)] for row in rows])["target"]
        found, _ = model.posterior(tokens.to(device))
        mean[rows], log_variance[rows] = found.mean.cpu(), found.log_variance.cpu()
    return DiagonalGaussian(mean, log_variance)


def interpolate(first: Tensor, last: Tensor, steps: int) -> Tensor:
    """*steps* points at equal distances on the line between two points, both of them included.

    Args:
        first, last: shape (latent,).
        steps: at least 2.

    Returns:
        shape (steps, latent); its ends are exactly *first* and *last*.
    """
    return torch.lerp(first, last, torch.linspace(0, 1, steps).unsqueeze(1))


@dataclass(frozen=True)
class Neighbours:
    """Of each query, nearest first.

    Attributes:
        rows: of the data set, shape (queries, k).
        cosine: similarities, shape (queries, k).
    """

    rows: Tensor
    cosine: Tensor


def nearest(
    queries: Tensor, means: Tensor, k: int, same: Callable[[int], Iterable[int]] = lambda query: ()
) -> Neighbours:
    """The rows of *means* with the largest cosine similarity (VAE-MINE section 5.6); ties in the order of the rows.

    Args:
        queries: shape (queries, latent).
        means: shape (rows, latent).
        k: neighbours for each query, at most as many as there are rows.
        same: rows that are the query itself and do not count, for the query of this number.
    """
    queries = F.normalize(queries.double(), dim=1)
    parts = [queries @ F.normalize(part.double(), dim=1).T for part in means.split(_ROWS)]
    cosine = torch.cat(parts, dim=1)
    for query, row in enumerate(cosine):
        row[list(same(query))] = float("-inf")
    order = cosine.argsort(dim=1, descending=True, stable=True)[:, :k]
    return Neighbours(order, cosine.gather(1, order))
