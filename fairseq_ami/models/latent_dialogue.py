"""``vhred`` and ``dir_vhred``: HRED with a latent variable z for each reply (Serban et al. 2017; Zeng et al. 2019).

The prior reads the context c, the posterior the context and the reply; the decoder reads [c; z]. When a reply is
decoded, z comes from the prior: it is drawn once for each history, and all hypotheses of a search share it.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

import torch
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor, nn

from fairseq_ami.errors import AMIError
from fairseq_ami.models import hred
from fairseq_ami.models.decoder_likelihood import bow_log_likelihood
from fairseq_ami.models.hred import HRED, HierarchicalEncoder, History, Keys, Replies
from fairseq_ami.models.hred_config import DIALOG, PARK, TINY, HREDConfig, check_sizes, register_sizes
from fairseq_ami.models.hred_start import start_from_hred
from fairseq_ami.models.pair_settings import set_args
from fairseq_ami.models.text_vae_lstm import LSTMLatentDecoder
from fairseq_ami.models.text_vae_parts import build_bow
from fairseq_ami.modules.latent_heads import LatentDistribution, LatentHead
from fairseq_ami.random_streams import Stream, stream_keys, text_ids
from fairseq_ami.types import DecoderOut, DictionaryTask, HREDOut


@dataclass
class VHREDConfig(HREDConfig):
    latent_dim: int = field(default=100, metadata={"help": "size of the latent variable z of a reply"})
    bow_hidden: int = field(
        default=0, metadata={"help": "hidden units of the bag-of-words network for --bow-weight, 0 for none"}
    )
    latent_seed: int = field(
        default=1,
        metadata={"help": "seed of z when replies are decoded; in the tasks of this package it is that of --seed"},
    )
    hred_checkpoint: Optional[str] = field(
        default=None,
        metadata={"help": "checkpoint of an hred of the same sizes, with whose weights a new model starts"},
    )


class Context(NamedTuple):
    """What is known before each reply.

    Attributes:
        state: of the GRU over utterances, shape (replies, context).
        beside: what prior, posterior and decoder read of a conversation, shape (replies, any); None if nothing.
    """

    state: Tensor
    beside: Optional[Tensor]

    def known(self, *more: Tensor) -> Tensor:
        """State, *more* and what stands beside it, in this order, shape (replies, sum of sizes)."""
        last = () if self.beside is None else (self.beside,)
        return torch.cat([self.state, *more, *last], dim=1)


class LatentEncoder(HierarchicalEncoder):
    """A hierarchical encoder with a prior and a posterior of z.

    Args:
        dictionary, embed_tokens, cfg, beside: as for the :class:`HierarchicalEncoder`.
        kind: ``gaussian`` or ``dirichlet``.
        reads: size of what prior, posterior and decoder read of a conversation.

    Attributes:
        latent_seed, draw: which z is drawn when replies are decoded.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        embed_tokens: nn.Embedding,
        cfg: VHREDConfig,
        kind: str,
        beside: int = 0,
        reads: int = 0,
    ):
        super().__init__(dictionary, embed_tokens, cfg, beside)
        hidden = cfg.context_hidden_size
        known = hidden + reads
        self.prior = LatentHead(known, hidden, cfg.latent_dim, kind)
        self.posterior = LatentHead(known + self.utterances.output_size, hidden, cfg.latent_dim, kind)
        self.output_size = known + cfg.latent_dim
        self.latent_seed, self.draw = cfg.latent_seed, 0

    # ------------------------------------------------------------------ decoding

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        owner: Optional[Tensor] = None,
        turn: Optional[Tensor] = None,
    ) -> HREDOut:
        """What the decoder is conditioned on, with z from the prior, shape (replies, size); no reply is read.

        z follows from the seed, the words of the history and the number of the draw.
        """
        history = self.read(src_tokens)
        replies = self.replies(history, owner, turn)
        ids = text_ids(src_tokens, src_tokens.ne(self.pad))
        context = self.context_to_decode(history, replies, self._key(Stream.DIALOG_PRIOR_CONVERSATION, ids))
        ids = ids if owner is None else ids[replies.owner] + replies.turn
        prior = self.prior(context.known())
        return self.condition(context, prior.value(prior.draw(self._key(Stream.DIALOG_PRIOR, ids))))

    def _key(self, stream: int, ids: Tensor) -> Tensor:
        return stream_keys(self.latent_seed, 0, stream, ids, self.draw + 1).view(len(ids), -1)[:, self.draw]

    def context_to_decode(self, history: History, replies: Replies, keys: Tensor) -> Context:
        """The contexts of replies that are not known. *keys* are for what subclasses draw, shape (batch,)."""
        return Context(self.context(history.vectors)[replies.owner, replies.turn], None)

    def condition(self, context: Context, z: Tensor) -> HREDOut:
        """The decoder's ``encoder_out``."""
        return {"z": context.known(z.to(context.state.dtype))}

    # ------------------------------------------------------------------ the ELBO

    def context_to_learn(
        self, history: History, replies: Replies, vectors: Tensor, keys: Keys
    ) -> Tuple[Context, Dict[str, Tensor]]:
        """The contexts of replies that are known, and terms of the ELBO that come with them.

        Args:
            vectors: of the replies, shape (replies, size).
            keys: of random streams.
        """
        return self.context_to_decode(history, replies, keys.conversation), {}

    def infer(self, context: Context, vectors: Tensor) -> Tuple[LatentDistribution, LatentDistribution]:
        """Prior and posterior of z; *vectors* are those of the replies, shape (replies, size)."""
        return self.prior(context.known()), self.posterior(context.known(vectors))


class LatentHRED(HRED):
    """HRED with latent variables; trains with ``dialog_elbo``.

    Args:
        encoder: with a prior and a posterior.
        decoder: of replies.
        latent_dim: size of z.
        bow: z -> logits over the vocabulary, for the bag-of-words loss; None for none.
        word_dropout: probability with which a word that the decoder reads is hidden in training.
    """

    kind = "gaussian"

    def __init__(
        self,
        encoder: LatentEncoder,
        decoder: LSTMLatentDecoder,
        latent_dim: int,
        bow: Optional[nn.Sequential],
        word_dropout: float,
    ):
        super().__init__(encoder, decoder, word_dropout)
        self.latent_dim, self.bow = latent_dim, bow

    @classmethod
    def build_model(cls, cfg: VHREDConfig, task: DictionaryTask) -> "LatentHRED":
        """Build a new model for the dictionaries of *task*, with the weights of ``--hred-checkpoint`` if there is one.

        Raises:
            AMIError: sizes that make no network, or a checkpoint that does not fit.
        """
        check_sizes(cfg, cls.latent_sizes)
        if cfg.bow_hidden < 0:
            raise AMIError("--bow-hidden must not be negative")
        source, table = hred.encoder_embedding(cfg, task)
        encoder = cls.build_latent_encoder(cfg, source, table)
        decoder = hred.build_decoder(cfg, task, table, encoder.output_size)
        bow = build_bow(cfg, task.target_dictionary)
        model = cls(encoder, decoder, cfg.latent_dim, bow, cfg.word_dropout)
        hred.initialise(model, cfg)
        if cfg.hred_checkpoint:
            start_from_hred(model, cfg.hred_checkpoint)
            set_args(cfg, hred_checkpoint=None)  # its weights go into this model's own checkpoints
        return model

    latent_sizes: Tuple[str, ...] = ("latent_dim",)

    @classmethod
    def build_latent_encoder(cls, cfg: Any, dictionary: Dictionary, table: nn.Embedding) -> LatentEncoder:
        return LatentEncoder(dictionary, table, cfg, cls.kind)

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor,
        prev_output_tokens: Tensor,
        owner: Optional[Tensor] = None,
        turn: Optional[Tensor] = None,
        target: Optional[Tensor] = None,
        keys: Optional[Keys] = None,
    ) -> Union[DecoderOut, Dict[str, Tensor]]:
        """Logits given z from the prior, or with *keys* the terms of the ELBO of *target* (:meth:`terms`).

        Raises:
            AMIError: training by the likelihood under the prior, which would never use the posterior.
        """
        if keys is None and self.training:
            raise AMIError("a dialogue model with a latent variable trains with --criterion dialog_elbo")
        return super().forward(src_tokens, src_lengths, prev_output_tokens, owner, turn, target, keys)

    def terms(
        self, src_tokens: Tensor, owner: Optional[Tensor], turn: Optional[Tensor], target: Tensor, keys: Keys
    ) -> Dict[str, Tensor]:
        """What the ELBO consists of, in nats and float32; z is drawn from the posterior.

        Returns:
            Of each reply, shape (replies,): ``reconstruction`` is -log p(reply | history, z), and ``kl_sentence``
            KL(q(z | history, reply) || p(z | history)). ``weight_sentence`` is log p(z | history) - log q(z | ...) of
            the z drawn. With a bag-of-words network ``bow`` is its negative log-likelihood. ``mean`` is that of the
            posterior, shape (replies, latent). Models with a z of the conversation add its terms, shape (batch,).
        """
        history = self.encoder.read(src_tokens)
        replies = self.encoder.replies(history, owner, turn)
        vectors = self.encoder.encode(target)
        context, found = self.encoder.context_to_learn(history, replies, vectors, keys)
        prior, posterior = self.encoder.infer(context, vectors)
        drawn = posterior.draw(keys.sentence)
        z = posterior.value(drawn)
        found["reconstruction"] = self.reconstruction(target, self.encoder.condition(context, z), keys)
        found["kl_sentence"] = posterior.kl(prior)
        found["weight_sentence"] = (prior.log_prob(drawn) - posterior.log_prob(drawn)).detach()
        found["mean"] = posterior.mean.detach()
        if self.bow is not None:
            symbols = self.decoder.dictionary
            found["bow"] = -bow_log_likelihood(self.bow, target, z, symbols.pad(), symbols.eos())
        return found


@register_model("vhred", dataclass=VHREDConfig)
class VHRED(LatentHRED):
    """z is Gaussian, with a diagonal covariance."""


@dataclass
class DirVHREDConfig(VHREDConfig):
    latent_dim: int = field(default=3, metadata={"help": "size of the latent variable z of a reply"})


@register_model("dir_vhred", dataclass=DirVHREDConfig)
class DirVHRED(LatentHRED):
    """z is a point of the simplex, drawn from a Dirichlet distribution."""

    kind = "dirichlet"


register_sizes("vhred", {**TINY, "latent_dim": 4}, {**DIALOG, "latent_dim": 32}, PARK)
register_sizes("dir_vhred", TINY, DIALOG, PARK)
