"""InfoMax-GAN's regulariser for a critic of text: words that tell which sentence they stand in.

The critic is the backward network Q. A word's local feature is its embedding there, a sentence's global feature the
mean of z, what Q's encoder makes of the whole. Q ascends the InfoNCE bound between the two on real T; P gets the bound
of its samples as a reward, because no gradient reaches it through discrete T'.
"""

from typing import Sequence, Tuple

import torch
from torch import Tensor

from fairseq_ami.data import as_source
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.objectives import info_nce_terms
from fairseq_ami.objectives.adversarial import words_of


def sentence_information(
    model: PairedModel, tokens: Tensor, pad: int, not_words: Sequence[int]
) -> Tuple[Tensor, Tensor]:
    """InfoNCE terms of the words of each sentence, summed.

    All sentences are one another's negatives, so they must be drawn independently; what is found depends on the batch.

    Args:
        model: a pair with ``infomax`` heads.
        tokens: T or T', shape (n, length), padded anywhere.
        pad: the padding symbol.
        not_words: symbols that are no words.

    Returns:
        Sums in nats, float32, shape (n,), and numbers of words, shape (n,). Zeros where fewer than two sentences have
        a word: there is nothing to contrast.
    """
    network = model.backward_model
    tokens, lengths = as_source(tokens, pad)
    words = words_of(tokens, not_words)
    counts = words.sum(1)
    if int(counts.gt(0).sum()) < 2:
        return counts.new_zeros(counts.shape, dtype=torch.float32), torch.zeros_like(counts)
    z, padding = model.latent.get(model.encode(network, tokens, lengths))  # (positions, n, channels)
    if padding is not None:
        z = z.masked_fill(padding.t().unsqueeze(-1), 0.0)
        whole = z.sum(0) / lengths.unsqueeze(1).to(z)
    else:
        whole = z.mean(0)
    local, whole = model.infomax(network.encoder.embed_tokens(tokens), whole)
    return info_nce_terms(local, whole, words).sum(1), counts
