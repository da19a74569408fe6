"""What every text VAE is: a posterior network, a decoder conditioned on z, and parts that some objectives need."""

import copy
from typing import Any, Collection, Dict, List, Optional, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from fairseq_ami.models.decoder_likelihood import bow_log_likelihood, decoder_log_likelihood, previous_tokens
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.random_streams import uniform
from fairseq_ami.types import Batch, DecoderOut, LatentDecoder, SentenceEncoder


class TextVAE(BaseFairseqModel):
    """q(z|x), p(x|z), and optionally a critic f(x, z) and a bag-of-words network p(words of x|z).

    Encoder and decoder may share one table of word vectors. It is then the decoder's: only its updates move the table.

    A language model is the same thing with a z of size 0 and no encoder.

    Args:
        encoder: tokens (batch, length) -> features (batch, size); None for a language model.
        decoder: a fairseq incremental decoder whose ``encoder_out`` is what :meth:`condition` makes of z, with
            ``output_layer(features, bias)``; ``encoder_out["skip"]`` is the bias of --latent-skip, or None.
        latent_dim: size of z.
        critic: (features (n, size), z (m, latent)) -> scores (n, m).
        critic_words: tokens (batch, length) -> features for the critic; None: it reads the encoder's.
        bow: z -> logits over the vocabulary.
        word_dropout: probability with which a word that the decoder reads is hidden in training.
        encoder_word_dropout: probability with which a word that the encoder reads is hidden in training.
    """

    encoder: Any  # features of a size of its own
    decoder: Any  # fairseq's incremental decoder, and condition(z)
    bow: Any

    def __init__(
        self,
        encoder: Optional[SentenceEncoder],
        decoder: LatentDecoder[Any],
        latent_dim: int,
        critic: Optional[nn.Module] = None,
        critic_words: Optional[nn.Module] = None,
        bow: Optional[nn.Sequential] = None,
        word_dropout: float = 0.0,
        encoder_word_dropout: float = 0.0,
    ):
        super().__init__()
        self.encoder = encoder
        self.posterior_heads = nn.Linear(encoder.output_size, 2 * latent_dim) if encoder is not None else None
        self.decoder = decoder
        self.critic = critic
        self.critic_words = critic_words
        self.bow = bow
        self.latent_dim = latent_dim
        self.word_dropout = word_dropout
        self.encoder_word_dropout = encoder_word_dropout
        self.dictionary: Dictionary = decoder.dictionary
        self.pad = self.dictionary.pad()
        for player, parameters in self.players().items():
            for parameter in parameters:
                setattr(parameter, "param_group", player)  # where fairseq looks for it

    def players(self) -> Dict[str, List[nn.Parameter]]:
        """Parameters by player: ``encoder`` (phi), ``decoder`` (theta), ``critic`` (psi); absent ones left out.

        The bag-of-words network is no part of p(x|z): with the decoder's, its large gradient would be clipped for both.
        """
        modules = {
            "encoder": [self.encoder, self.posterior_heads],
            "decoder": [self.decoder],
            "critic": [self.critic, self.critic_words, self.bow],
        }
        found = {
            player: [p for part in parts if part is not None for p in part.parameters()]
            for player, parts in modules.items()
        }
        decoders = {id(p) for p in found["decoder"]}
        found["encoder"] = [p for p in found["encoder"] if id(p) not in decoders]
        return {player: parameters for player, parameters in found.items() if parameters}

    def use_bfloat16_decoder(self) -> None:
        """Compute the decoder in bfloat16. The encoder stays as it is, with a copy of word vectors that they shared."""
        decoders = {id(p) for p in self.decoder.parameters()}
        if self.encoder is not None and any(id(p) in decoders for p in self.encoder.parameters()):
            self.encoder.share_words(copy.deepcopy(self.decoder.embed_tokens))
        self.decoder.bfloat16()

    def set_players(self, players: Collection[str]) -> None:
        """Only the weights of *players* get gradients."""
        for player, parameters in self.players().items():
            for parameter in parameters:
                parameter.requires_grad = player in players

    # ------------------------------------------------------------------ inference

    def posterior(self, tokens: Tensor, hide: Optional[Tensor] = None) -> Tuple[DiagonalGaussian, Tensor]:
        """q(z|x), and what the critic reads of x.

        Args:
            tokens: sentences ending with the end symbol, padded on the right, shape (batch, length).
            hide: True where the encoder must not see the word, shape (batch, length); the end symbol is always seen.

        Returns:
            the posterior of each row, and features of shape (batch, encoder.output_size).
        """
        seen = tokens
        if hide is not None:
            words = tokens.ne(self.pad) & tokens.ne(self.dictionary.eos())
            seen = tokens.masked_fill(hide & words, self.dictionary.unk())
        features = self.encoder(seen)
        mean, log_variance = self.posterior_heads(features).chunk(2, dim=1)
        if self.critic_words is not None:
            features = self.critic_words(tokens)
        return DiagonalGaussian(mean, log_variance), features

    # ------------------------------------------------------------------ generation

    def condition(self, z: Tensor) -> Any:
        """The decoder's ``encoder_out`` for z of shape (batch, latent)."""
        return self.decoder.condition(z)

    def log_likelihood(self, tokens: Tensor, z: Optional[Tensor] = None, hide: Optional[Tensor] = None) -> Tensor:
        """log p(x|z), the end symbol included, in nats and float32.

        Only real tokens reach the output layer, by far the widest one.

        Args:
            tokens: shape (batch, length), as for :meth:`posterior`.
            z: shape (batch, latent); not needed by a language model.
            hide: True where the decoder must not see the word, shape (batch, length).

        Returns:
            shape (batch,).
        """
        if z is None:
            z = self.no_latent(tokens)
        return decoder_log_likelihood(self.decoder, tokens, self.condition(z), hide)

    def previous_tokens(self, tokens: Tensor) -> Tensor:
        """Decoder input for *tokens*: shifted right behind the end symbol."""
        return previous_tokens(tokens, self.dictionary.eos())

    def hidden_words(self, tokens: Tensor, keys: Tensor) -> Optional[Tensor]:
        """Which words --word-dropout hides in training: drawn from each sentence's own random stream."""
        return self._hidden(tokens, keys, self.word_dropout)

    def hidden_from_encoder(self, tokens: Tensor, keys: Tensor) -> Optional[Tensor]:
        """The same for --encoder-word-dropout."""
        return self._hidden(tokens, keys, self.encoder_word_dropout)

    def _hidden(self, tokens: Tensor, keys: Tensor, probability: float) -> Optional[Tensor]:
        if not self.training or probability == 0:
            return None
        return uniform(keys, tokens.size(1)) < probability

    def bow_log_likelihood(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Log-probability of the words of x in any order (Zhao et al. 2017), end symbol left out, shape (batch,)."""
        return bow_log_likelihood(self.bow, tokens, z, self.pad, self.dictionary.eos())

    def no_latent(self, tokens: Tensor) -> Tensor:
        """z of a language model: nothing for each row."""
        return torch.zeros(tokens.size(0), 0, device=tokens.device)

    # ------------------------------------------------------------------ fairseq

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor, **kwargs: Any) -> DecoderOut:
        """Stock signature: logits given the posterior's mean (in training a sample of it)."""
        z = self.no_latent(src_tokens)
        if self.encoder is not None:
            posterior, _ = self.posterior(src_tokens)
            z = posterior.sample() if self.training else posterior.mean
        return self.decoder(prev_output_tokens, encoder_out=self.condition(z))

    def get_normalized_probs(self, net_output: DecoderOut, log_probs: bool, sample: Optional[Batch] = None) -> Tensor:
        return self.decoder.get_normalized_probs(net_output, log_probs, sample)

    def max_positions(self) -> int:
        return self.decoder.max_positions()

    def max_decoder_positions(self) -> int:
        return self.decoder.max_positions()
