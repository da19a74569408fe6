"""``text_vae_transformer``: the text VAE over fairseq's Transformer layers."""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional

import torch
from fairseq.data import Dictionary
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerConfig, TransformerDecoderBase, TransformerEncoderBase
from torch import Tensor, nn

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


@dataclass
class TextVAETransformerConfig(TextVAEModelConfig):
    embed_dim: int = field(default=256, metadata={"help": "size of word vectors and hidden states"})
    ffn_dim: int = field(default=1024, metadata={"help": "hidden units of the feed-forward layers"})
    num_layers: int = field(default=4, metadata={"help": "layers of encoder and decoder"})
    attention_heads: int = field(default=4, metadata={"help": "attention heads of encoder and decoder"})
    dropout: float = field(default=0.1, metadata={"help": "dropout of encoder and decoder"})


class TransformerSentenceEncoder(nn.Module):
    """Mean over the sentence of a Transformer encoder's outputs."""

    def __init__(self, transformer: TransformerEncoderBase):
        super().__init__()
        self.transformer = transformer
        self.pad = transformer.padding_idx
        self.output_size = transformer.embed_tokens.embedding_dim

    def share_words(self, table: nn.Embedding) -> None:
        """Read the word vectors of *table* from now on."""
        self.transformer.embed_tokens = table

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) -> (batch, embed_dim)."""
        real = tokens.ne(self.pad)
        states = self.transformer(tokens, src_lengths=real.sum(1))["encoder_out"][0].transpose(0, 1)
        exact = torch.promote_types(states.dtype, torch.float32)
        mean = (states * real.unsqueeze(2)).sum(1, dtype=exact) / real.sum(1, keepdim=True)
        return mean.to(states.dtype)


class TransformerLatentDecoder(TransformerDecoderBase):
    """fairseq's decoder, whose cross-attention has one place to look at: a linear map of z.

    So every layer reads z at every position, and incremental decoding and beam search are fairseq's own.
    With *latent_skip* the logits of all words also get an addend that is linear in z.
    """

    def __init__(
        self,
        cfg: TransformerConfig,
        dictionary: Dictionary,
        embed_tokens: nn.Embedding,
        latent_dim: int,
        latent_skip: Optional[nn.Linear] = None,
    ):
        super().__init__(cfg, dictionary, embed_tokens, no_encoder_attn=latent_dim == 0)
        self.latent_skip = latent_skip
        self.memory = nn.Linear(latent_dim, embed_tokens.embedding_dim) if latent_dim else None
        self.latent_dim = latent_dim

    def condition(self, z: Tensor) -> Dict[str, Any]:
        """``encoder_out`` for z of shape (batch, latent), in the weights' precision; W z (batch, words)."""
        z = z.to(self.embed_tokens.weight.dtype)
        memory = [] if self.memory is None else [self.memory(z).unsqueeze(0)]
        skip = None if self.latent_skip is None else self.latent_skip(z)
        return {"encoder_out": memory, "encoder_padding_mask": [], "skip": skip}

    @staticmethod
    def reorder_condition(encoder_out: Dict[str, Any], order: Tensor) -> Dict[str, Any]:
        """Select rows of what :meth:`condition` returned."""
        memory = [state.index_select(1, order) for state in encoder_out["encoder_out"]]
        skip = encoder_out["skip"]
        skip = None if skip is None else skip.index_select(0, order)
        return {"encoder_out": memory, "encoder_padding_mask": [], "skip": skip}

    def output_layer(self, features: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        """Logits of all words; *bias* is what --latent-skip adds to them, of their shape or one that broadcasts."""
        logits = super().output_layer(features)
        return logits if bias is None else logits.add_(bias)  # the largest tensor of all: no second one

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: Optional[Dict[str, Any]] = None,
        incremental_state: Optional[IncrementalState] = None,
        **kwargs: Any,
    ) -> DecoderOut:
        features, extra = self.extract_features(prev_output_tokens, encoder_out, incremental_state, **kwargs)
        skip = encoder_out["skip"]
        return self.output_layer(features, None if skip is None else skip.unsqueeze(1)), extra


@register_model("text_vae_transformer", dataclass=TextVAETransformerConfig)
class TextVAETransformer(TextVAE):
    """The Transformer VAE; with ``latent_dim`` 0 a Transformer language model."""

    @classmethod
    def build_model(cls, cfg: TextVAETransformerConfig, task: SentenceTask) -> "TextVAETransformer":
        """Build a new model for the vocabulary of *task*.

        Raises:
            AMIError: sizes that make no network, or another kind of task.
        """
        check_task(task)
        fill_in(cfg, TextVAETransformerConfig)
        check_sizes(cfg, ("embed_dim", "ffn_dim", "num_layers", "attention_heads", "max_target_positions"))
        if cfg.embed_dim % cfg.attention_heads:
            raise AMIError(f"--embed-dim {cfg.embed_dim} must be a multiple of --attention-heads {cfg.attention_heads}")
        dictionary, latent, settings = task.dictionary, cfg.latent_dim, _transformer_config(cfg)
        encoder = None
        if latent:
            words = _embedding(dictionary, cfg.embed_dim)
            encoder = TransformerSentenceEncoder(TransformerEncoderBase(settings, dictionary, words))
        words, skip = _embedding(dictionary, cfg.embed_dim), build_latent_skip(cfg, dictionary)
        decoder = TransformerLatentDecoder(settings, dictionary, words, latent, skip)
        if cfg.share_word_vectors:
            encoder.share_words(decoder.embed_tokens)
        return cls(encoder, decoder, latent, **optional_parts(cfg, encoder, dictionary))


def _transformer_config(cfg: TextVAETransformerConfig) -> TransformerConfig:
    settings = TransformerConfig()
    for side in (settings.encoder, settings.decoder):
        side.embed_dim, side.ffn_embed_dim = cfg.embed_dim, cfg.ffn_dim
        side.layers, side.attention_heads = cfg.num_layers, cfg.attention_heads
    settings.decoder.input_dim = settings.decoder.output_dim = cfg.embed_dim
    settings.dropout = cfg.dropout
    settings.share_decoder_input_output_embed = True
    # one position more than the longest sentence: the decoder's input starts with the end symbol
    settings.max_source_positions = settings.max_target_positions = cfg.max_target_positions + 1
    return settings


def _embedding(dictionary: Dictionary, dim: int) -> nn.Embedding:
    table = nn.Embedding(len(dictionary), dim, padding_idx=dictionary.pad())
    nn.init.normal_(table.weight, std=dim**-0.5)
    with torch.no_grad():
        table.weight[dictionary.pad()].zero_()
    return table


@register_model_architecture("text_vae_transformer", "text_vae_transformer_tiny")
def _tiny(args: Arguments) -> None:
    tiny = {"embed_dim": 16, "ffn_dim": 32, "num_layers": 2, "attention_heads": 2, "latent_dim": 4, "dropout": 0.0}
    for key, value in tiny.items():
        setattr(args, key, getattr(args, key, value))
