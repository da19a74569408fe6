"""``ami_lstm``: the pair over fairseq's LSTM with attention, bi-directional encoder."""

from argparse import ArgumentParser
from typing import Any, Dict

from fairseq.models import lstm as stock
from fairseq.models import register_model, register_model_architecture
from torch import Tensor

from fairseq_ami.models.explicit_settings import remember_explicit
from fairseq_ami.models.pair_latent import LSTMLatent
from fairseq_ami.models.pair_settings import add_pair_args, pair_defaults
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.types import Arguments, LSTMOut, Network


@register_model("ami_lstm")
class AMILSTM(PairedModel):
    """P(T|S), Q(S|T) and latent noise over BiLSTMs; both directions take the same settings."""

    network_class = stock.LSTMModel
    latent = LSTMLatent

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        stock.LSTMModel.add_args(parser)
        add_pair_args(parser)

    @staticmethod
    def encode(network: Network, tokens: Tensor, lengths: Tensor) -> LSTMOut:
        # reversed batches and samples are not sorted by length
        return network.encoder(tokens, src_lengths=lengths, enforce_sorted=False)


def _set(args: Arguments, defaults: Dict[str, Any]) -> None:
    for key, value in defaults.items():
        setattr(args, key, getattr(args, key, value))


def _sizes(size: int, layers: int, dropout: float) -> Dict[str, Any]:
    return {
        "encoder_embed_dim": size,
        "decoder_embed_dim": size,
        "decoder_out_embed_dim": size,
        "encoder_hidden_size": size,
        "decoder_hidden_size": size,
        "encoder_layers": layers,
        "decoder_layers": layers,
        "dropout": dropout,
    }


def _architecture(name: str, defaults: Dict[str, Any]) -> None:
    @register_model_architecture("ami_lstm", name)
    def apply(args: Arguments) -> None:
        remember_explicit(args)
        args.encoder_bidirectional = True
        _set(args, defaults)
        stock.base_architecture(args)
        pair_defaults(args)


_architecture("ami_lstm", {})
_architecture("ami_lstm_tiny", _sizes(64, 1, 0.1))
_architecture("ami_lstm_wmt_en_de", _sizes(1024, 4, 0.2))  # appendix B.2
_architecture("ami_lstm_dialog", _sizes(500, 2, 0.3))  # appendix B.1
