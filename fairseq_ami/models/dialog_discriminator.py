"""``dialog_discriminator``: is a reply to a history a human's? (Li et al. 2017, section 3.1)."""

from dataclasses import dataclass, field
from typing import Any, NoReturn, Union

import torch
from fairseq.data import Dictionary
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor, nn

from fairseq_ami.data.dialogue import SEPARATOR
from fairseq_ami.errors import AMIError
from fairseq_ami.modules.hierarchy import ContextEncoder, by_history, cut_utterances
from fairseq_ami.types import Arguments, DictionaryTask


@dataclass
class DiscriminatorConfig(FairseqDataclass):
    discriminator_embed_dim: int = field(default=512, metadata={"help": "size of the discriminator's word vectors"})
    discriminator_hidden_size: int = field(
        default=512, metadata={"help": "units of the discriminator's GRU over words, and of its GRU over utterances"}
    )
    discriminator_dropout: float = field(
        default=0.2, metadata={"help": "dropout on the discriminator's word vectors and on its last state"}
    )


SIZES = ("discriminator_embed_dim", "discriminator_hidden_size")


def check_discriminator(cfg: Union[DiscriminatorConfig, Arguments]) -> None:
    """Refuse sizes that make no network.

    Raises:
        AMIError: with the flag.
    """
    for name in SIZES:
        if getattr(cfg, name) < 1:
            raise AMIError(f"--{name.replace('_', '-')} must be at least 1")
    if not 0 <= cfg.discriminator_dropout < 1:
        raise AMIError("--discriminator-dropout must be in [0, 1)")


@register_model("dialog_discriminator", dataclass=DiscriminatorConfig)
class DialogDiscriminator(BaseFairseqModel):
    """The hierarchical encoder of Li et al. (2015) with one output: the logit of "a human wrote this reply".

    A GRU reads the words of each utterance, of the history and of the reply alike.
    A second one reads the utterances, the reply last.
    The first one reads from left to right only, so that one pass judges every prefix of a reply.

    Args:
        dictionary: of histories and replies; without ``<sep>`` a history is one utterance.
        embed_dim: size of the word vectors.
        hidden: units of both GRUs.
        dropout: on the word vectors and on the last state.
    """

    def __init__(self, dictionary: Dictionary, embed_dim: int, hidden: int, dropout: float):
        super().__init__()
        self.pad, self.eos = dictionary.pad(), dictionary.eos()
        self.separator = dictionary.index(SEPARATOR) if SEPARATOR in dictionary else None
        self.embed_tokens = nn.Embedding(len(dictionary), embed_dim, self.pad)
        nn.init.normal_(self.embed_tokens.weight, std=embed_dim**-0.5)
        nn.init.zeros_(self.embed_tokens.weight[self.pad])
        self.words = nn.GRU(embed_dim, hidden, batch_first=True)
        self.utterances = ContextEncoder(hidden, hidden, 1, dropout)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, 1)

    @classmethod
    def build_model(cls, cfg: Union[DiscriminatorConfig, Arguments], task: DictionaryTask) -> "DialogDiscriminator":
        """A new discriminator for the replies of *task*.

        Raises:
            AMIError: sizes that make no network.
        """
        check_discriminator(cfg)
        return cls(
            task.target_dictionary, cfg.discriminator_embed_dim, cfg.discriminator_hidden_size,
            cfg.discriminator_dropout,
        )  # fmt: skip

    def read(self, src_tokens: Tensor) -> Tensor:
        """What is known of flat histories, padded anywhere: (batch, length) -> (batch, hidden)."""
        cut = cut_utterances(src_tokens, self.separator, self.pad, self.eos)
        states = self.utterances(by_history(cut, last_of(self._read_words(cut.tokens), cut.tokens.ne(self.pad))))
        return states[torch.arange(len(states), device=states.device), cut.counts]

    def judge(self, history: Tensor, replies: Tensor) -> Tensor:
        """Logits of whole replies.

        Args:
            history: of each reply, from :meth:`read`, shape (rows, hidden).
            replies: with their end symbols, padded on the right, shape (rows, length).

        Returns:
            float32, shape (rows,).
        """
        return self._judge(history, last_of(self._read_words(replies), replies.ne(self.pad)))

    def judge_prefixes(self, history: Tensor, replies: Tensor) -> Tensor:
        """Logits of the replies that end after each symbol; those behind the end mean nothing.

        Args:
            history, replies: as for :meth:`judge`.

        Returns:
            float32, shape (rows, length).
        """
        states = self._read_words(replies)
        every = history.repeat_interleave(replies.size(1), 0)
        return self._judge(every, states.flatten(0, 1)).view(replies.shape)

    def _read_words(self, tokens: Tensor) -> Tensor:
        return self.words(self.dropout(self.embed_tokens(tokens)))[0]

    def _judge(self, history: Tensor, reply: Tensor) -> Tensor:
        last = self.utterances(reply.unsqueeze(1), history.unsqueeze(0))[:, 1]
        return self.out(self.dropout(last)).squeeze(1).float()

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not a network that writes.

        Raises:
            AMIError: always, with the architecture that it is a part of.
        """
        raise AMIError("--arch dialog_discriminator is a part of --arch dialog_gan: train that one (--task dialog_gan)")


def last_of(states: Tensor, words: Tensor) -> Tensor:
    """The state at the last word of each row.

    Args:
        states: shape (rows, length, size).
        words: True at words, which stand on the left, shape (rows, length).

    Returns:
        Shape (rows, size).
    """
    places = (words.sum(1) - 1).clamp(min=0)
    return states[torch.arange(len(states), device=states.device), places]
