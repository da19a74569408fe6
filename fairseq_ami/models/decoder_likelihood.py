"""Log-likelihoods of sentences under a decoder that a latent variable or a context conditions."""

from typing import Any, Optional

import torch
import torch.nn.functional as F
from fairseq.models import FairseqDecoder
from torch import Tensor, nn

from fairseq_ami.objectives.likelihood import places_of


def previous_tokens(tokens: Tensor, eos: int) -> Tensor:
    """Decoder input for *tokens* (batch, length): shifted right behind the end symbol."""
    return torch.cat([torch.full_like(tokens[:, :1], eos), tokens[:, :-1]], dim=1)


def decoder_log_likelihood(
    decoder: FairseqDecoder, tokens: Tensor, encoder_out: object, hide: Optional[Tensor] = None
) -> Tensor:
    """log p(tokens | what *encoder_out* tells), the end symbol included, in nats and float32 at least.

    Only real tokens reach the output layer, by far the widest one.

    Args:
        decoder: a fairseq decoder with ``extract_features`` and ``output_layer``.
        tokens: sentences ending with the end symbol, padded on the right, shape (batch, length).
        encoder_out: what the decoder is conditioned on; its ``skip`` is a bias of each sentence for the output layer.
        hide: True where the decoder must not see the word, shape (batch, length).

    Returns:
        shape (batch,).
    """
    pad = decoder.dictionary.pad()
    previous = previous_tokens(tokens, decoder.dictionary.eos())
    if hide is not None:  # the first symbol tells nothing, so there is nothing to hide
        words = F.pad(hide[:, :-1], (1, 0)) & previous.ne(pad)
        previous = previous.masked_fill(words, decoder.dictionary.unk())
    features, _ = decoder.extract_features(previous, encoder_out=encoder_out)
    places = places_of(tokens.ne(pad))
    sentences = places // tokens.size(1)
    real = features.flatten(0, 1).index_select(0, places)
    skip = encoder_out.get("skip") if isinstance(encoder_out, dict) else None
    logits = decoder.output_layer(real) if skip is None else decoder.output_layer(real, skip.index_select(0, sentences))
    losses = F.cross_entropy(
        logits.to(torch.promote_types(logits.dtype, torch.float32)), tokens.flatten()[places], reduction="none"
    )
    return -losses.new_zeros(tokens.size(0)).index_add(0, sentences, losses)


def bow_log_likelihood(bow: nn.Sequential, tokens: Tensor, z: Tensor, pad: int, eos: int) -> Tensor:
    """Log-probability of the words of *tokens* in any order (Zhao et al. 2017), end symbol left out, shape (batch,).

    Args:
        bow: z -> logits over the vocabulary.
        tokens: shape (batch, length).
        z: shape (batch, latent).
        pad, eos: symbol ids.
    """
    first: Any = bow[0]
    logits = bow(z.to(first.weight.dtype))
    log_probs = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
    words = tokens.ne(pad) & tokens.ne(eos)
    return (log_probs.gather(1, tokens) * words).sum(1)
