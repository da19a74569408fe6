"""Where the latent representation z sits in a fairseq encoder's output."""

from typing import Optional, Protocol, Tuple, TypeVar

import torch
from fairseq.models import FairseqEncoder
from torch import Tensor

from fairseq_ami.random_streams import normal
from fairseq_ami.types import EncoderOut, HREDOut, LSTMOut, Network, TransformerOut

Out = TypeVar("Out")


class Latent(Protocol[Out]):
    """Where z sits in the encoder output *Out* of one kind of network."""

    @staticmethod
    def dim(network: Network) -> int:
        """Channels of z."""

    @staticmethod
    def get(encoder_out: Out) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (positions, batch, channels), and its padding mask (batch, positions) or None."""

    @staticmethod
    def replace(encoder_out: Out, z: Tensor) -> Out:
        """The same encoder output with another z."""


class TransformerLatent:
    """z of a Transformer: the encoder's output at every position (AMI section 3.2)."""

    @staticmethod
    def dim(network: Network) -> int:
        return network.encoder.embed_tokens.embedding_dim

    @staticmethod
    def get(encoder_out: TransformerOut) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (positions, batch, channels), and its padding mask (batch, positions) or None."""
        masks = encoder_out["encoder_padding_mask"]
        return encoder_out["encoder_out"][0], masks[0] if len(masks) > 0 else None

    @staticmethod
    def replace(encoder_out: TransformerOut, z: Tensor) -> TransformerOut:
        return {**encoder_out, "encoder_out": [z]}


class LSTMLatent:
    """z of a BiLSTM: the concatenated final states of both directions (AMI section 3.2).

    Every layer's hidden and cell state, where the decoder takes its first state; attention keeps the
    unperturbed outputs.
    """

    @staticmethod
    def dim(network: Network) -> int:
        return network.encoder.output_units

    @staticmethod
    def get(encoder_out: LSTMOut) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (2 * layers, batch, channels): hidden states, then cells. Nothing is padding."""
        return torch.cat([encoder_out[1], encoder_out[2]], dim=0), None

    @staticmethod
    def replace(encoder_out: LSTMOut, z: Tensor) -> LSTMOut:
        hidden, cell = z.chunk(2, dim=0)
        return (encoder_out[0], hidden, cell, encoder_out[3])


class HREDLatent:
    """z of an HRED: what its decoder is conditioned on, the last state of the GRU over utterances."""

    @staticmethod
    def dim(network: Network) -> int:
        return network.encoder.context.gru.hidden_size

    @staticmethod
    def get(encoder_out: HREDOut) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (1, batch, channels). Nothing is padding."""
        return encoder_out["z"].unsqueeze(0), None

    @staticmethod
    def replace(encoder_out: HREDOut, z: Tensor) -> HREDOut:
        return {**encoder_out, "z": z.squeeze(0)}


def noise_draws(keys: Tensor, z: Tensor, padding_mask: Optional[Tensor]) -> Tensor:
    """Standard normal eps for z (positions, batch, channels), aligned to the words of each row.

    Left padding moves a sentence's words with the length of its neighbours; its noise must not move.
    """
    eps = normal(keys, z.size(0), z.size(2))  # (batch, positions, channels)
    if padding_mask is not None:
        place = (~padding_mask).long().cumsum(1) - 1
        eps = eps.gather(1, place.clamp(min=0).unsqueeze(-1).expand_as(eps))
    return eps.transpose(0, 1)


def repeat_rows(encoder: FairseqEncoder, out: EncoderOut, count: int, rows: int, device: torch.device) -> EncoderOut:
    """Each row *count* times, neighbours together."""
    if count == 1:
        return out
    return encoder.reorder_encoder_out(out, torch.arange(rows, device=device).repeat_interleave(count))
