"""Where the latent representation z sits in a fairseq encoder's output."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor


class TransformerLatent:
    """z of a Transformer: the encoder's output at every position (AMI section 3.2)."""

    @staticmethod
    def dim(network: Any) -> int:
        return network.encoder.embed_tokens.embedding_dim

    @staticmethod
    def get(encoder_out: Any) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (positions, batch, channels), and its padding mask (batch, positions) or None."""
        masks = encoder_out["encoder_padding_mask"]
        return encoder_out["encoder_out"][0], masks[0] if len(masks) > 0 else None

    @staticmethod
    def replace(encoder_out: Any, z: Tensor) -> Any:
        return {**encoder_out, "encoder_out": [z]}


class LSTMLatent:
    """z of a BiLSTM: the concatenated final states of both directions (AMI section 3.2).

    Every layer's hidden and cell state, where the decoder takes its first state; attention keeps the
    unperturbed outputs.
    """

    @staticmethod
    def dim(network: Any) -> int:
        return network.encoder.output_units

    @staticmethod
    def get(encoder_out: Any) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (2 * layers, batch, channels): hidden states, then cells. Nothing is padding."""
        return torch.cat([encoder_out[1], encoder_out[2]], dim=0), None

    @staticmethod
    def replace(encoder_out: Any, z: Tensor) -> Any:
        hidden, cell = z.chunk(2, dim=0)
        return (encoder_out[0], hidden, cell, encoder_out[3])


class HREDLatent:
    """z of an HRED: what its decoder is conditioned on, the last state of the GRU over utterances."""

    @staticmethod
    def dim(network: Any) -> int:
        return network.encoder.context.gru.hidden_size

    @staticmethod
    def get(encoder_out: Any) -> Tuple[Tensor, Optional[Tensor]]:
        """z of shape (1, batch, channels). Nothing is padding."""
        return encoder_out["z"].unsqueeze(0), None

    @staticmethod
    def replace(encoder_out: Any, z: Tensor) -> Any:
        return {**encoder_out, "z": z.squeeze(0)}
