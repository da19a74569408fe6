"""``noisy_transformer``: one Transformer whose encoder injects the latent noise of AMI."""

from argparse import ArgumentParser
from typing import Optional

import torch
from fairseq.data import Dictionary
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerConfig, TransformerEncoder
from fairseq.models.transformer import transformer_legacy as stock
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_ami.models.pair_latent import TransformerLatent
from fairseq_ami.modules import LatentNoise
from fairseq_ami.types import Arguments, TransformerOut


class NoisyTransformerEncoder(TransformerEncoder):
    """fairseq's encoder; its output gets noise while it trains, and when ``always_noisy`` is set.

    An encoder is told no sentence ids, so the noise comes from torch's generator, which fairseq seeds alike on all
    workers. Rows at the same place of two workers' batches share their noise, as they share their dropout.
    """

    def __init__(
        self,
        cfg: TransformerConfig,
        dictionary: Dictionary,
        embed_tokens: nn.Embedding,
        noise_scale: float,
        hidden_dim: Optional[int],
    ):
        super().__init__(cfg, dictionary, embed_tokens)
        dim = embed_tokens.embedding_dim
        self.latent_noise = LatentNoise(dim, hidden_dim or dim, noise_scale)
        self.always_noisy = False

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        return_all_hiddens: bool = False,
        token_embeddings: Optional[Tensor] = None,
    ) -> TransformerOut:
        out = super().forward(src_tokens, src_lengths, return_all_hiddens, token_embeddings)
        if not (self.training or self.always_noisy):
            return out
        z, mask = TransformerLatent.get(out)
        delta = self.latent_noise(z, torch.randn_like(z, dtype=torch.float32), mask)
        return TransformerLatent.replace(out, z + delta)


@register_model("noisy_transformer")
class NoisyTransformer(stock.TransformerModel):
    """A stock Transformer with latent noise (AMI equations 14 to 19); trains with any fairseq criterion.

    ``--noise-at-generation`` (or ``--model-overrides "{'noise_at_generation': True}"``) keeps the noise on
    when it decodes.
    """

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        stock.TransformerModel.add_args(parser)
        parser.add_argument("--noise-scale", type=float, help="factor on the latent noise (default: 0.1)")
        parser.add_argument("--noise-hidden-dim", type=int, help="hidden units of the noise network")
        parser.add_argument("--noise-at-generation", action="store_true", help="inject noise when decoding, too")

    @classmethod
    def build_model(cls, args: Arguments, task: FairseqTask) -> "NoisyTransformer":
        noise_defaults(args)
        return super().build_model(args, task)

    @classmethod
    def build_encoder(
        cls, args: Arguments, src_dict: Dictionary, embed_tokens: nn.Embedding
    ) -> NoisyTransformerEncoder:
        cfg = TransformerConfig.from_namespace(args)
        encoder = NoisyTransformerEncoder(cfg, src_dict, embed_tokens, cfg.noise_scale, cfg.noise_hidden_dim)
        encoder.always_noisy = cfg.noise_at_generation
        return encoder


def noise_defaults(args: Arguments) -> None:
    args.noise_scale = getattr(args, "noise_scale", 0.1)
    args.noise_hidden_dim = getattr(args, "noise_hidden_dim", None)
    args.noise_at_generation = getattr(args, "noise_at_generation", False)


@register_model_architecture("noisy_transformer", "noisy_transformer")
def base(args: Arguments) -> None:
    noise_defaults(args)
    stock.base_architecture(args)


@register_model_architecture("noisy_transformer", "noisy_transformer_tiny")
def tiny(args: Arguments) -> None:
    noise_defaults(args)
    stock.tiny_architecture(args)
