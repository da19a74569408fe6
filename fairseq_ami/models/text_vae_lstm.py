"""``text_vae_lstm``: the paper's LSTM VAE, and ``text_lm_lstm``, its decoder alone (VAE-MINE section 5.2)."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder, register_model, register_model_architecture
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fairseq_ami.errors import AMIError
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.models.text_vae_parts import (
    TextVAEModelConfig,
    build_latent_skip,
    check_sizes,
    check_task,
    fill_in,
    optional_parts,
)
from fairseq_ami.types import Arguments, DecoderOut, IncrementalState, SentenceTask


class LSTMSentenceEncoder(nn.Module):
    """An LSTM over the sentence: its last state, or with max-pooling the largest of each unit over the sentence.

    Args:
        bidirectional: a second LSTM reads the sentence from its end; both are concatenated.
        max_pooling: over the states of all words, end symbol included (Long et al. 2019).
        dropout: on the word vectors.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        embed_dim: int,
        hidden: int,
        layers: int,
        bidirectional: bool = False,
        max_pooling: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.pad = dictionary.pad()
        self.embed_tokens = embedding(dictionary, embed_dim)
        self.lstm = nn.LSTM(embed_dim, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.dropout = nn.Dropout(dropout)
        self.max_pooling = max_pooling
        self.output_size = 2 * hidden if bidirectional else hidden

    def share_words(self, table: nn.Embedding) -> None:
        """Read the word vectors of *table* from now on."""
        self.embed_tokens = table

    def forward(self, tokens: Tensor) -> Tensor:
        """Right-padded (batch, length) -> (batch, output_size)."""
        lengths = tokens.ne(self.pad).sum(1)
        states = self._states(self.dropout(self.embed_tokens(tokens)), lengths)
        if self.max_pooling:
            return states.masked_fill(tokens.eq(self.pad).unsqueeze(2), float("-inf")).amax(1)
        last = states[torch.arange(len(tokens), device=tokens.device), lengths - 1]
        if not self.lstm.bidirectional:
            return last
        hidden = self.lstm.hidden_size  # the second direction ends at the first word
        return torch.cat([last[:, :hidden], states[:, 0, hidden:]], dim=1)

    def _states(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Outputs at all places, shape (batch, length, output_size).

        One fused pass over the padded batch where one direction is enough: what it says at a token does not depend on
        the padding behind it.
        """
        if not self.lstm.bidirectional:
            return self.lstm(words)[0]
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=words.size(1))[0]


class LSTMLatentDecoder(FairseqIncrementalDecoder):
    """LSTM that reads c z beside every word and starts from tanh(W c z + b), c = *latent_scale*.

    With *latent_skip* the logits of all words also get an addend that is linear in c z.
    HRED conditions it on the context of a dialogue instead of z.

    Args:
        cell: ``lstm``, or ``gru``, which has one state.
        every_word: z stands beside every word; without, only the first state tells of it.
        embed_tokens: word vectors that are shared; None makes new ones.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        embed_dim: int,
        hidden: int,
        layers: int,
        latent_dim: int,
        dropout: float,
        longest: int,
        latent_scale: float = 1.0,
        cell: str = "lstm",
        every_word: bool = True,
        embed_tokens: Optional[nn.Embedding] = None,
        latent_skip: Optional[nn.Linear] = None,
    ):
        super().__init__(dictionary)
        self.embed_tokens = embedding(dictionary, embed_dim) if embed_tokens is None else embed_tokens
        self.every_word, self.states = every_word, 2 if cell == "lstm" else 1
        network = nn.LSTM if cell == "lstm" else nn.GRU
        inputs = embed_dim + (latent_dim if every_word else 0)
        self.lstm = network(inputs, hidden, layers, batch_first=True)  # the name of a GRU too, in checkpoints
        self.first_state = nn.Linear(latent_dim, self.states * layers * hidden) if latent_dim else None
        self.output_projection = nn.Linear(hidden, len(dictionary))
        self.latent_skip = latent_skip
        self.dropout_in, self.dropout_out = nn.Dropout(dropout), nn.Dropout(dropout)
        self.latent_dim, self.latent_scale = latent_dim, latent_scale
        self.longest = longest

    def condition(self, z: Tensor) -> Dict[str, Optional[Tensor]]:
        """``encoder_out`` for z of shape (batch, latent), scaled, in the weights' precision.

        With --latent-skip its ``skip`` is W z plus the output layer's bias, shape (batch, words).
        """
        scaled = (self.latent_scale * z).to(self.output_projection.weight.dtype)
        skip = None if self.latent_skip is None else self.latent_skip(scaled) + self.output_projection.bias
        return {"z": scaled, "skip": skip}

    @staticmethod
    def reorder_condition(encoder_out: Dict[str, Optional[Tensor]], order: Tensor) -> Dict[str, Optional[Tensor]]:
        """Select rows of what :meth:`condition` returned."""
        return {name: None if part is None else part.index_select(0, order) for name, part in encoder_out.items()}

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, Tensor]] = None,
        incremental_state: Optional[IncrementalState] = None,
        **kwargs: Any,
    ) -> Tuple[Tensor, Dict[str, Any]]:
        """Hidden states (batch, length, hidden) after dropout, in one LSTM call; the last one only when incremental."""
        z = encoder_out["z"]
        state = None
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
            cached = self.get_incremental_state(incremental_state, "lstm")
            state = None if cached is None else self._as_state([cached[name] for name in "hc" if name in cached])
        if state is None:
            state = self._first(z)
        words = self.dropout_in(self.embed_tokens(prev_output_tokens))
        if self.every_word:
            words = torch.cat([words, z.unsqueeze(1).expand(-1, words.size(1), -1)], dim=2)
        outputs, state = self.lstm(words, state)
        if incremental_state is not None:
            parts = state if self.states == 2 else (state,)
            self.set_incremental_state(incremental_state, "lstm", dict(zip("hc", parts)))
        return self.dropout_out(outputs), {"attn": None}

    def _first(self, z: Tensor) -> Any:
        if self.first_state is None:
            return None  # zeros
        state = torch.tanh(self.first_state(z)).view(len(z), self.states, self.lstm.num_layers, self.lstm.hidden_size)
        return self._as_state(state.permute(1, 2, 0, 3).contiguous().unbind())

    def _as_state(self, parts: Sequence[Tensor]) -> Any:
        """What torch takes as a state: hidden states and cells of an LSTM, hidden states of a GRU."""
        return tuple(parts) if self.states == 2 else parts[0]

    def output_layer(self, features: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        """Logits of all words.

        Args:
            features: shape (..., hidden).
            bias: of each row, instead of the layer's own; of the shape of the logits, which overwrite it where
                *features* has two dimensions. So --latent-skip costs no tensor of that size.
        """
        if bias is None:
            return self.output_projection(features)
        weight = self.output_projection.weight
        if features.dim() == 2:
            return bias.addmm_(features, weight.t())
        return F.linear(features, weight) + bias

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, Tensor]] = None,
        incremental_state: Optional[IncrementalState] = None,
        **kwargs: Any,
    ) -> DecoderOut:
        features, extra = self.extract_features(prev_output_tokens, encoder_out, incremental_state)
        skip = encoder_out.get("skip")
        return self.output_layer(features, None if skip is None else skip.unsqueeze(1)), extra

    def reorder_incremental_state(self, incremental_state: IncrementalState, new_order: Tensor) -> None:
        cached = self.get_incremental_state(incremental_state, "lstm")
        if cached is not None:
            cached = {key: value.index_select(1, new_order) for key, value in cached.items()}
            self.set_incremental_state(incremental_state, "lstm", cached)

    def max_positions(self) -> int:
        return self.longest


def embedding(dictionary: Dictionary, dim: int) -> nn.Embedding:
    """Word vectors, uniform in [-0.1, 0.1], padding at zero."""
    table = nn.Embedding(len(dictionary), dim, padding_idx=dictionary.pad())
    nn.init.uniform_(table.weight, -0.1, 0.1)
    nn.init.zeros_(table.weight[dictionary.pad()])
    return table


@dataclass
class TextVAELSTMConfig(TextVAEModelConfig):
    embed_dim: int = field(default=128, metadata={"help": "size of the word vectors"})
    hidden_size: int = field(default=512, metadata={"help": "hidden units of encoder and decoder"})
    num_layers: int = field(default=1, metadata={"help": "LSTM layers of encoder and decoder"})
    dropout: float = field(default=0.5, metadata={"help": "dropout on the decoder's inputs and outputs"})
    latent_scale: float = field(
        default=1.0,
        metadata={
            "help": "factor on z where the decoder reads it. At 1 its entries are 17 times those of a new word vector, "
            "and plain SGD with a large rate hardly tames their weights"
        },
    )
    language_model: Optional[str] = field(
        default=None,
        metadata={"help": "checkpoint of a text_lm_lstm of the same sizes, with whose weights a new decoder starts"},
    )
    encoder_bidirectional: bool = field(
        default=False, metadata={"help": "let a second LSTM of --hidden-size units read the sentence from its end"}
    )
    encoder_max_pooling: bool = field(
        default=False,
        metadata={"help": "make z from the largest value of each encoder unit over the sentence, not the last one"},
    )
    encoder_dropout: float = field(default=0.0, metadata={"help": "dropout on the word vectors that the encoder reads"})


@register_model("text_vae_lstm", dataclass=TextVAELSTMConfig)
class TextVAELSTM(TextVAE):
    """The LSTM VAE; with ``latent_dim`` 0 the LSTM language model."""

    @classmethod
    def build_model(cls, cfg: TextVAELSTMConfig, task: SentenceTask) -> "TextVAELSTM":
        """Build a new model for the vocabulary of *task*.

        Raises:
            AMIError: sizes that make no network, or another kind of task.
        """
        check_task(task)
        fill_in(cfg, TextVAELSTMConfig)
        check_sizes(cfg, ("embed_dim", "hidden_size", "num_layers", "max_target_positions"))
        if cfg.latent_scale <= 0:
            raise AMIError("--latent-scale must be positive: at 0 the decoder reads no z")
        if not 0 <= cfg.encoder_dropout < 1:
            raise AMIError("--encoder-dropout must be in [0, 1)")
        dictionary, latent, sizes = task.dictionary, cfg.latent_dim, (cfg.embed_dim, cfg.hidden_size, cfg.num_layers)
        encoder = _build_encoder(cfg, dictionary) if latent else None
        skip = build_latent_skip(cfg, dictionary)
        decoder = LSTMLatentDecoder(
            dictionary, *sizes, latent, cfg.dropout, cfg.max_target_positions, cfg.latent_scale, latent_skip=skip
        )
        if cfg.share_word_vectors:
            encoder.share_words(decoder.embed_tokens)
        return cls(encoder, decoder, latent, **optional_parts(cfg, encoder, dictionary))


def _build_encoder(cfg: TextVAELSTMConfig, dictionary: Dictionary) -> LSTMSentenceEncoder:
    return LSTMSentenceEncoder(
        dictionary, cfg.embed_dim, cfg.hidden_size, cfg.num_layers,
        cfg.encoder_bidirectional, cfg.encoder_max_pooling, cfg.encoder_dropout,
    )  # fmt: skip


@dataclass
class TextLMLSTMConfig(TextVAELSTMConfig):
    latent_dim: int = field(default=0, metadata={"help": "size of the latent variable: 0, a language model has none"})


@register_model("text_lm_lstm", dataclass=TextLMLSTMConfig)
class TextLMLSTM(TextVAELSTM):
    """The decoder alone: the LSTM language model of equal size."""


def _architecture(model: str, name: str, **defaults: Any) -> None:
    @register_model_architecture(model, name)
    def apply(args: Arguments) -> None:
        for key, value in defaults.items():
            setattr(args, key, getattr(args, key, value))


# the paper's data sets differ in their sentences' length, not in the network
for _corpus in ("ptb", "snli", "yahoo"):
    _architecture("text_vae_lstm", f"text_vae_lstm_{_corpus}")
_TINY = {"embed_dim": 16, "hidden_size": 32, "dropout": 0.0}
_architecture("text_vae_lstm", "text_vae_lstm_tiny", latent_dim=4, critic_hidden=32, **_TINY)
_architecture("text_lm_lstm", "text_lm_lstm_tiny", **_TINY)
