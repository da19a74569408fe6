"""The two recurrent encoders of HRED (Serban et al. 2016): words to an utterance, utterances to a context."""

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from fairseq_ami.objectives.likelihood import places_of

UPDATE_GATE_BIAS = 2.0  # of Park et al. (2018): a new GRU then keeps its state


@dataclass(frozen=True)
class Utterances:
    """The utterances of a batch of histories, one a row, in the order of the histories.

    Attributes:
        tokens: each ends with the end symbol, padded on the right, shape (utterances, longest).
        owner: number of the history that an utterance is of, shape (utterances,).
        place: its position in there, from 0, shape (utterances,).
        counts: utterances of each history, shape (batch,).
    """

    tokens: Tensor
    owner: Tensor
    place: Tensor
    counts: Tensor


def cut_utterances(tokens: Tensor, separator: Optional[int], pad: int, eos: int) -> Utterances:
    """Cut flat histories ``u1 <sep> u2 <sep> u3`` into their utterances.

    A separator becomes the end symbol of the utterance before it.
    So all utterances end alike, and an empty one is the end symbol alone.
    A history without a separator is one utterance.

    Args:
        tokens: histories, padded anywhere, shape (batch, length).
        separator: symbol id; None if the dictionary has none.
        pad, eos: symbol ids.
    """
    words = tokens.ne(pad)
    ends = torch.zeros_like(words) if separator is None else tokens.eq(separator)
    number = ends.long().cumsum(1) - ends.long()  # a separator belongs to the utterance that it ends
    counts = torch.where(words, number + 1, 0).amax(1)
    first = counts.cumsum(0) - counts
    places = places_of(words)
    rows = (number + first.unsqueeze(1)).flatten()[places]  # ascending
    lengths = torch.bincount(rows, minlength=int(counts.sum()))
    position = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(0) - lengths)[rows]
    found = tokens.new_full((len(lengths), int(lengths.max()) if len(lengths) else 0), pad)
    found[rows, position] = tokens.masked_fill(ends, eos).flatten()[places]
    owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return Utterances(found, owner, torch.arange(len(owner), device=owner.device) - first[owner], counts)


def by_history(cut: Utterances, vectors: Tensor) -> Tensor:
    """The vectors of utterances, put beside one another for each history.

    Args:
        cut: the utterances.
        vectors: one for each of them, shape (utterances, size).

    Returns:
        Shape (batch, most utterances, size), 0 behind the last utterance of a history.
    """
    places = vectors.new_zeros(len(cut.counts), int(cut.counts.max()), vectors.size(1))
    return places.index_put((cut.owner, cut.place), vectors)


class UtteranceEncoder(nn.Module):
    """Last states of both directions of a GRU over the words of an utterance.

    Args:
        embed_dim: size of the word vectors.
        hidden: units of each direction.
        layers: of the GRU; the last one's states are taken.
        dropout: on the word vectors, and between layers.
    """

    def __init__(self, embed_dim: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.gru = nn.GRU(embed_dim, hidden, layers, batch_first=True, bidirectional=True, dropout=between)
        self.output_size = 2 * hidden

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Word vectors padded on the right (rows, length, embed), lengths of at least 1 -> (rows, output_size)."""
        return last_states(self.gru, self.dropout(vectors), lengths)


def last_states(gru: nn.GRU, inputs: Tensor, lengths: Tensor) -> Tensor:
    """The last states of both directions of the highest layer of a bi-directional *gru*, side by side.

    Args:
        inputs: padded on the right, shape (rows, length, size).
        lengths: of the rows, at least 1, shape (rows,).

    Returns:
        shape (rows, 2 x hidden).
    """
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    _, states = gru(packed)
    return states[-2:].transpose(0, 1).flatten(1)


class ContextEncoder(nn.Module):
    """The GRU that reads one utterance after the other.

    Args:
        size: of an utterance vector and whatever stands beside it.
        hidden: units.
        layers: of the GRU.
        dropout: between layers.
    """

    def __init__(self, size: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.gru = nn.GRU(size, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, inputs: Tensor, first: Optional[Tensor] = None) -> Tensor:
        """What is known after each number of utterances.

        Args:
            inputs: padded on the right, shape (batch, utterances, size).
            first: first state of each layer, shape (layers, batch, hidden); None: zeros.

        Returns:
            The highest layer's states, the first one in front, shape (batch, utterances + 1, hidden).
        """
        states, _ = self.gru(inputs, first)
        if first is None:
            return F.pad(states, (0, 0, 1, 0))
        return torch.cat([first[-1].unsqueeze(1), states], dim=1)


def initialise_as_park(module: nn.Module) -> None:
    """Orthogonal recurrent weights, and a bias of 2 on the update gates, of all GRUs in *module* (Park et al. 2018).

    An LSTM gets the orthogonal weights alone.
    """
    for network in module.modules():
        if not isinstance(network, nn.RNNBase):
            continue
        size = network.hidden_size
        for name, parameter in network.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.data.split(size):
                    nn.init.orthogonal_(gate)
            elif name.startswith("bias_ih") and isinstance(network, nn.GRU):
                parameter.data[size : 2 * size] = UPDATE_GATE_BIAS  # torch keeps reset, update and new in this order
            elif name.startswith("bias_hh") and isinstance(network, nn.GRU):
                parameter.data[size : 2 * size] = 0.0
