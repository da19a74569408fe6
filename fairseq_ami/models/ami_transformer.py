"""``ami_transformer``: the pair over fairseq's Transformer."""

from argparse import ArgumentParser
from typing import Callable

from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import transformer_legacy as stock

from fairseq_ami.models.explicit_settings import remember_explicit
from fairseq_ami.models.pair_latent import TransformerLatent
from fairseq_ami.models.pair_settings import add_pair_args, pair_defaults
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.types import Arguments


@register_model("ami_transformer")
class AMITransformer(PairedModel):
    """P(T|S), Q(S|T) and latent noise over Transformers; both directions take the same settings."""

    network_class = stock.TransformerModel
    latent = TransformerLatent

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        stock.TransformerModel.add_args(parser)
        add_pair_args(parser)


def _architecture(name: str, network_defaults: Callable[[Arguments], None]) -> None:
    """Register *name*: the network settings of a stock architecture, and the pair's own."""

    @register_model_architecture("ami_transformer", name)
    def defaults(args: Arguments) -> None:
        remember_explicit(args)
        network_defaults(args)
        pair_defaults(args)


_architecture("ami_transformer", stock.base_architecture)
_architecture("ami_transformer_tiny", stock.tiny_architecture)
_architecture("ami_transformer_iwslt_de_en", stock.transformer_iwslt_de_en)
_architecture("ami_transformer_wmt_en_de", stock.transformer_wmt_en_de)
_architecture("ami_transformer_wmt_en_de_big", stock.transformer_wmt_en_de_big)
# appendix B.1: 512 / 2048, 8 heads, dropout 0.1: the base Transformer
_architecture("ami_transformer_dialog", stock.base_architecture)
