"""Ancestral sampling for training: one batched incremental pass that drops finished rows."""

from dataclasses import dataclass
from typing import Callable, Optional, Tuple

import torch
from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor

from fairseq_ami.generation.policy import Policy
from fairseq_ami.random_streams import uniform
from fairseq_ami.types import Condition, IncrementalState


@dataclass(frozen=True)
class Samples:
    """Sampled sentences T'.

    Attributes:
        tokens: ids ending with the end symbol, then padding; shape (rows, length).
        actions: True where the symbol was chosen by the policy: padding was not, and neither was
            an end symbol forced at the length limit; shape (rows, length).
    """

    tokens: Tensor
    actions: Tensor


@dataclass(frozen=True)
class Prefixes:
    """Words with which rows begin, which are no choices of the policy.

    Attributes:
        tokens: of each row, padding behind them, shape (rows, length). There is no end symbol among them, and they are
            fewer than the row's limit.
        leader: the row that reads them, shape (rows,). A row that is its own leader starts at the start. Others join
            where their prefix ends, with what the decoder then knows of their leader, whose prefix begins with theirs.
    """

    tokens: Tensor
    leader: Tensor


def previous_outputs(tokens: Tensor, pad: int, eos: int) -> Tensor:
    """Decoder input for *tokens*: shifted right behind the end symbol; shape (rows, length)."""
    first = torch.full_like(tokens[:, :1], eos)
    return torch.cat([first, tokens[:, :-1].masked_fill(tokens[:, 1:].eq(pad), pad)], dim=1)


@torch.no_grad()
def sample(
    decoder: FairseqIncrementalDecoder,
    encoder_out: Condition,
    reorder_encoder_out: Callable[[Condition, Tensor], Condition],
    policy: Policy,
    keys: Tensor,
    limits: Tensor,
    pad: int,
    eos: int,
    prefixes: Optional[Prefixes] = None,
) -> Samples:
    """Draw one sentence per row from the policy of *decoder*, or what follows a prefix of one.

    The caller has switched dropout off; nothing here depends on training or eval mode.

    Args:
        decoder: a fairseq incremental decoder.
        encoder_out: its encoder's output for every row that starts at the start.
        reorder_encoder_out: selects rows of *encoder_out*.
        policy: the distribution.
        keys: random keys of the rows, shape (rows,).
        limits: longest sentence of each row, end symbol included; at least 1, shape (rows,).
        prefixes: with which the rows begin. None forces nothing.
    """
    rows, longest = len(keys), int(limits.max())
    numbers = uniform(keys, longest)
    tokens = torch.full((rows, longest + 1), pad, dtype=torch.long, device=keys.device)
    tokens[:, 0] = eos
    actions = torch.zeros_like(tokens, dtype=torch.bool)
    forced = _Forced(prefixes, tokens, pad)
    alive = forced.starting
    going = torch.ones_like(alive, dtype=torch.bool)
    state: IncrementalState = {}
    length = 1
    while True:
        alive, going, index = forced.join(alive, going, length)
        if index is not None:  # before others leave: fairseq's attention ignores a new order of as many rows
            encoder_out = reorder_encoder_out(encoder_out, index)
            decoder.reorder_incremental_state_scripting(state, index)
        cut = going & limits[alive].eq(length)  # only the end symbol fits: nobody chooses it
        tokens[alive, length] = torch.full_like(alive, pad).masked_fill_(cut, eos)
        keep = (going & ~cut).nonzero().squeeze(1)
        if len(keep) == 0:
            break
        if len(keep) < len(alive):
            encoder_out = reorder_encoder_out(encoder_out, keep)
            decoder.reorder_incremental_state_scripting(state, keep)
            alive = alive[keep]
        out = decoder(tokens[alive, :length], encoder_out=encoder_out, incremental_state=state)
        chosen, own = forced.apply(policy.choose(out[0][:, -1], numbers[alive, length - 1]), alive, length)
        tokens[alive, length] = chosen
        actions[alive, length] = own
        going = chosen.ne(eos)
        length += 1
    width = int(tokens.ne(pad).sum(1).max())
    return Samples(tokens[:, 1:width], actions[:, 1:width])


class _Forced:
    """What prefixes mean for a sampling loop. Their words are written into *tokens* first."""

    def __init__(self, prefixes: Optional[Prefixes], tokens: Tensor, pad: int):
        self.everyone = self.starting = torch.arange(len(tokens), device=tokens.device)
        self.longest = 0
        if prefixes is not None:
            self.words, self.kept = prefixes.tokens, prefixes.tokens.ne(pad).sum(1)
            self.leader, self.longest = prefixes.leader, int(self.kept.max())
            self.starting = self.everyone[self.leader.eq(self.everyone)]
            tokens[:, 1 : 1 + self.longest] = self.words[:, : self.longest]

    def join(self, alive: Tensor, going: Tensor, length: int) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        """The living rows with those whose prefix ends here, and where in *alive* the state of each lies; or None."""
        if length > self.longest + 1 or len(self.starting) == len(self.everyone):
            return alive, going, None
        joining = self.everyone[self.kept.eq(length - 1) & self.leader.ne(self.everyone)]
        if len(joining) == 0:
            return alive, going, None
        places = torch.zeros_like(self.everyone)
        places[alive] = torch.arange(len(alive), device=alive.device)
        index = torch.cat([places[alive], places[self.leader[joining]]])
        return torch.cat([alive, joining]), torch.cat([going, torch.ones_like(joining, dtype=torch.bool)]), index

    def apply(self, chosen: Tensor, alive: Tensor, length: int) -> Tuple[Tensor, Tensor]:
        """What the rows write at this place, and where it is the policy's own choice."""
        if length > self.longest:
            return chosen, torch.ones_like(chosen, dtype=torch.bool)
        own = self.kept[alive] < length
        return torch.where(own, chosen, self.words[alive, length - 1]), own
