"""``hred``: the hierarchical encoder-decoder of Serban et al. (2016), in the form of Park et al. (2018)."""

import logging
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqEncoder, FairseqEncoderDecoderModel, register_model
from torch import Tensor, nn

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.models.decoder_likelihood import decoder_log_likelihood
from fairseq_ami.models.hred_config import DIALOG, PARK, TINY, HREDConfig, check_sizes, register_sizes
from fairseq_ami.models.text_vae_lstm import LSTMLatentDecoder, embedding
from fairseq_ami.modules.hierarchy import (
    ContextEncoder,
    UtteranceEncoder,
    by_history,
    cut_utterances,
    initialise_as_park,
)
from fairseq_ami.random_streams import uniform
from fairseq_ami.types import DecoderOut, DictionaryTask, HREDOut

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """Encoded histories.

    Attributes:
        vectors: of the utterances, 0 behind the last, shape (batch, most utterances, size).
        counts: utterances of each history, shape (batch,).
    """

    vectors: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Replies:
    """Which replies are asked for.

    Attributes:
        owner: number of the history that a reply is to, shape (replies,).
        turn: how many utterances of that history stand before it, shape (replies,).
    """

    owner: Tensor
    turn: Tensor


@dataclass(frozen=True)
class Keys:
    """Of random streams (:func:`fairseq_ami.random_streams.stream_keys`).

    Attributes:
        sentence, words: z of a reply, and the words hidden of it, shape (replies,).
        conversation, utterances: z of a conversation, and the utterances hidden of it, shape (batch,).
    """

    sentence: Tensor
    words: Tensor
    conversation: Tensor
    utterances: Tensor


class HierarchicalEncoder(FairseqEncoder):
    """Reads flat histories ``u1 <sep> u2 <sep> u3``: a GRU over the words of each utterance, and one over utterances.

    Args:
        dictionary: of the histories; without ``<sep>`` each history is one utterance.
        embed_tokens: the word vectors.
        cfg: sizes.
        beside: size of what the GRU over utterances reads beside each utterance.
    """

    def __init__(self, dictionary: Dictionary, embed_tokens: nn.Embedding, cfg: HREDConfig, beside: int = 0):
        super().__init__(dictionary)
        self.pad, self.eos = dictionary.pad(), dictionary.eos()
        self.separator = dictionary.index(SEPARATOR) if SEPARATOR in dictionary else None
        self.embed_tokens = embed_tokens
        self.utterances = UtteranceEncoder(cfg.embed_dim, cfg.encoder_hidden_size, cfg.encoder_layers, cfg.dropout)
        self.context = ContextEncoder(
            self.utterances.output_size + beside, cfg.context_hidden_size, cfg.context_layers, cfg.dropout
        )
        self.longest = cfg.max_source_positions

    def read(self, src_tokens: Tensor) -> History:
        """Encode all utterances of a batch at once."""
        cut = cut_utterances(src_tokens, self.separator, self.pad, self.eos)
        return History(by_history(cut, self.encode(cut.tokens)), cut.counts)

    def encode(self, tokens: Tensor) -> Tensor:
        """Vectors of utterances that end with the end symbol, padded on the right: (rows, length) -> (rows, size)."""
        return self.utterances(self.embed_tokens(tokens), tokens.ne(self.pad).sum(1))

    @staticmethod
    def replies(history: History, owner: Optional[Tensor], turn: Optional[Tensor]) -> Replies:
        """The replies of a batch: one to each whole history, unless *owner* and *turn* say otherwise."""
        if owner is None or turn is None:
            return Replies(torch.arange(len(history.counts), device=history.counts.device), history.counts)
        return Replies(owner, turn)

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        owner: Optional[Tensor] = None,
        turn: Optional[Tensor] = None,
    ) -> HREDOut:
        """What the decoder is conditioned on, shape (replies, size): the context before each reply."""
        history = self.read(src_tokens)
        replies = self.replies(history, owner, turn)
        return {"z": self.context(history.vectors)[replies.owner, replies.turn]}

    def reorder_encoder_out(self, encoder_out: HREDOut, new_order: Tensor) -> HREDOut:
        return LSTMLatentDecoder.reorder_condition(encoder_out, new_order)

    def max_positions(self) -> int:
        return self.longest


@register_model("hred", dataclass=HREDConfig)
class HRED(FairseqEncoderDecoderModel):
    """P(reply | history) without attention: what is known of the history is the last state of the context GRU.

    Trains with fairseq's ``cross_entropy`` as any translation model does, or with ``dialog_elbo``, whose divergences
    are then 0. A batch may hold several replies to the parts of one dialogue (``owner`` and ``turn``).
    """

    encoder: Any  # a HierarchicalEncoder: fairseq's type does not know its methods
    decoder: Any
    num_updates = 0
    latent_dim = 0
    bow: Optional[nn.Sequential]

    def __init__(self, encoder: HierarchicalEncoder, decoder: LSTMLatentDecoder, word_dropout: float = 0.0):
        super().__init__(encoder, decoder)
        self.bow = None
        self.word_dropout = word_dropout

    @classmethod
    def build_model(cls, cfg: HREDConfig, task: DictionaryTask) -> "HRED":
        """Build a new model for the dictionaries of *task*.

        Raises:
            AMIError: sizes that make no network.
        """
        check_sizes(cfg)
        source, table = encoder_embedding(cfg, task)
        encoder = HierarchicalEncoder(source, table, cfg)
        model = cls(encoder, build_decoder(cfg, task, table, cfg.context_hidden_size), cfg.word_dropout)
        initialise(model, cfg)
        return model

    def set_num_updates(self, num_updates: int) -> None:
        """Keep the number of the update, on which the weight of the divergences and the random streams depend."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates

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
        """Logits (replies, length, vocabulary), or with *keys* the terms of the ELBO of *target* (:meth:`terms`)."""
        if keys is not None:
            return self.terms(src_tokens, owner, turn, target, keys)
        encoder_out = self.encoder(src_tokens, src_lengths, owner=owner, turn=turn)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out)

    def terms(
        self, src_tokens: Tensor, owner: Optional[Tensor], turn: Optional[Tensor], target: Tensor, keys: Keys
    ) -> Dict[str, Tensor]:
        """What the ELBO consists of, in nats and float32.

        Returns:
            ``reconstruction``: -log p(reply | history, z), shape (replies,). Without a latent variable there is
            nothing else.
        """
        condition = self.encoder(src_tokens, None, owner=owner, turn=turn)
        return {"reconstruction": self.reconstruction(target, condition, keys)}

    def reconstruction(self, target: Tensor, condition: HREDOut, keys: Keys) -> Tensor:
        """-log p(target | condition), words hidden in training, shape (replies,)."""
        hide = None
        if self.training and self.word_dropout > 0:
            hide = uniform(keys.words, target.size(1)) < self.word_dropout
        return -decoder_log_likelihood(self.decoder, target, condition, hide)


def encoder_embedding(cfg: HREDConfig, task: DictionaryTask) -> Tuple[Dictionary, nn.Embedding]:
    """The dictionary of the histories, and word vectors for it."""
    source = task.source_dictionary
    if SEPARATOR not in source:
        logger.warning(
            "the dictionary has no %s: every history is read as one utterance (fairseq-ami dialog-prepare writes %s "
            "between utterances)", SEPARATOR, SEPARATOR,
        )  # fmt: skip
    return source, embedding(source, cfg.embed_dim)


def build_decoder(cfg: HREDConfig, task: DictionaryTask, table: nn.Embedding, size: int) -> LSTMLatentDecoder:
    """The decoder of replies, conditioned on a vector of this *size*.

    It shares the encoder's word vectors where both sides have one dictionary, unless told not to.
    """
    target = task.target_dictionary
    shared = table if target == task.source_dictionary and not cfg.separate_embeddings else None
    return LSTMLatentDecoder(
        target, cfg.embed_dim, cfg.decoder_hidden_size, cfg.decoder_layers, size, cfg.dropout,
        cfg.max_target_positions, cell=str(cfg.decoder_cell), every_word=str(cfg.condition) == "all",
        embed_tokens=shared,
    )  # fmt: skip


def initialise(model: nn.Module, cfg: HREDConfig) -> None:
    """Give the recurrent networks of *model* the first weights that were asked for."""
    if str(cfg.gru_init) == "park":
        initialise_as_park(model)


register_sizes("hred", TINY, DIALOG, PARK)
