"""What every text VAE is: a posterior network, a decoder conditioned on z, and parts that some objectives need."""

from dataclasses import dataclass, field
from typing import Any, Collection, Dict, List, Optional, Sequence, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel
from fairseq.tasks.language_modeling import LanguageModelingTask
from torch import Tensor, nn

from fairseq_ami.errors import NO_LANGUAGE_MODEL, AMIError
from fairseq_ami.models.decoder_likelihood import bow_log_likelihood, decoder_log_likelihood, previous_tokens
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.modules.critics import CRITICS, build_critic
from fairseq_ami.random_streams import uniform
from fairseq_ami.types import Batch, DecoderOut, LatentDecoder, SentenceEncoder


@dataclass
class TextVAEModelConfig(FairseqDataclass):
    """Settings of all text VAEs; the defaults are those of VAE-MINE section 5.2."""

    latent_dim: int = field(default=64, metadata={"help": "size of the latent variable z"})
    word_dropout: float = field(
        default=0.0,
        metadata={"help": "in training, hide each word that the decoder reads behind <unk> with this probability"},
    )
    critic: ChoiceEnum(("none", *CRITICS)) = field(
        default="none", metadata={"help": "energy function f(x, z) for --mi-weight; concat is the paper's"}
    )
    critic_hidden: int = field(default=512, metadata={"help": "hidden units of the energy function"})
    critic_layers: int = field(default=2, metadata={"help": "hidden layers of the energy function"})
    critic_features: ChoiceEnum(("encoder", "words")) = field(
        default="encoder",
        metadata={
            "help": "what the energy function reads of x: the encoder's state (the paper), or means of own word vectors"
        },
    )
    bow_hidden: int = field(
        default=0, metadata={"help": "hidden units of the bag-of-words network for --bow-weight, 0 for none"}
    )
    max_target_positions: int = field(default=200, metadata={"help": "longest sentence, end symbol included"})


def check_task(task: object) -> None:
    """Refuse a task for stock language models, which fairseq-eval-lm takes by default.

    Raises:
        AMIError: with the command that measures a text VAE.
    """
    if isinstance(task, LanguageModelingTask):
        raise AMIError(NO_LANGUAGE_MODEL)


def check_sizes(cfg: TextVAEModelConfig, names: Sequence[str]) -> None:
    """Refuse sizes that make no network.

    Raises:
        AMIError: with the flag.
    """
    for name in names:
        if getattr(cfg, name) < 1:
            raise AMIError(f"--{name.replace('_', '-')} must be at least 1")
    if cfg.latent_dim < 0:
        raise AMIError("--latent-dim must not be negative (0 makes a language model)")
    if not 0 <= cfg.word_dropout < 1:
        raise AMIError("--word-dropout must be in [0, 1)")


def build_vae_critic(args: TextVAEModelConfig, encoder: Optional[SentenceEncoder]) -> Optional[nn.Module]:
    """The energy function f(features of x, z), or None; see :func:`build_critic_words`.

    Raises:
        AMIError: a critic for a model without z.
    """
    if str(args.critic) == "none":
        return None
    if encoder is None:
        raise AMIError("--critic needs a latent variable: a language model has none (--latent-dim 0)")
    return build_critic(str(args.critic), encoder.output_size, args.latent_dim, args.critic_hidden, args.critic_layers)


def build_critic_words(
    args: TextVAEModelConfig, encoder: Optional[SentenceEncoder], dictionary: Dictionary
) -> Optional[nn.Module]:
    """What the energy function reads of x in the place of the encoder's state, tokens -> mean word vector; or None.

    Raises:
        AMIError: features for no energy function.
    """
    if str(args.critic_features) == "encoder":
        return None
    if str(args.critic) == "none":
        raise AMIError("--critic-features words is for an energy function: pass --critic bilinear")
    return nn.EmbeddingBag(len(dictionary), encoder.output_size, mode="mean", padding_idx=dictionary.pad())


def build_bow(args: TextVAEModelConfig, dictionary: Dictionary) -> Optional[nn.Sequential]:
    """The bag-of-words network z -> logits (Zhao et al. 2017), or None.

    Raises:
        AMIError: a bag-of-words network for a model without z.
    """
    if args.bow_hidden == 0:
        return None
    if args.latent_dim == 0:
        raise AMIError("--bow-hidden needs a latent variable: a language model has none (--latent-dim 0)")
    return nn.Sequential(
        nn.Linear(args.latent_dim, args.bow_hidden), nn.Tanh(), nn.Linear(args.bow_hidden, len(dictionary))
    )


def optional_parts(
    args: TextVAEModelConfig, encoder: Optional[SentenceEncoder], dictionary: Dictionary
) -> Dict[str, Any]:
    """What :class:`TextVAE` has besides encoder and decoder, by the names of its arguments.

    Raises:
        AMIError: parts that need a latent variable, for a model without one.
    """
    return {
        "critic": build_vae_critic(args, encoder),
        "critic_words": build_critic_words(args, encoder, dictionary),
        "bow": build_bow(args, dictionary),
        "word_dropout": args.word_dropout,
    }


class TextVAE(BaseFairseqModel):
    """q(z|x), p(x|z), and optionally a critic f(x, z) and a bag-of-words network p(words of x|z).

    A language model is the same thing with a z of size 0 and no encoder.

    Args:
        encoder: tokens (batch, length) -> features (batch, size); None for a language model.
        decoder: a fairseq incremental decoder whose ``encoder_out`` is what :meth:`condition` makes of z.
        latent_dim: size of z.
        critic: (features (n, size), z (m, latent)) -> scores (n, m).
        critic_words: tokens (batch, length) -> features for the critic; None: it reads the encoder's.
        bow: z -> logits over the vocabulary.
        word_dropout: probability with which a word that the decoder reads is hidden in training.
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
        return {player: parameters for player, parameters in found.items() if parameters}

    def set_players(self, players: Collection[str]) -> None:
        """Only the weights of *players* get gradients."""
        for player, parameters in self.players().items():
            for parameter in parameters:
                parameter.requires_grad = player in players

    # ------------------------------------------------------------------ inference

    def posterior(self, tokens: Tensor) -> Tuple[DiagonalGaussian, Tensor]:
        """q(z|x), and what the critic reads of x.

        Args:
            tokens: sentences ending with the end symbol, padded on the right, shape (batch, length).

        Returns:
            the posterior of each row, and features of shape (batch, encoder.output_size).
        """
        features = self.encoder(tokens)
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
        if not self.training or self.word_dropout == 0:
            return None
        return uniform(keys, tokens.size(1)) < self.word_dropout

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
