"""Ancestral sampling for training: one batched incremental pass that drops finished rows."""

from dataclasses import dataclass
from typing import Callable, Optional

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
    prefix: Optional[Tensor] = None,
) -> Samples:
    """Draw one sentence per row from the policy of *decoder*, or what follows a prefix of one.

    The caller has switched dropout off; nothing here depends on training or eval mode.

    Args:
        decoder: a fairseq incremental decoder.
        encoder_out: its encoder's output for every row.
        reorder_encoder_out: selects rows of *encoder_out*.
        policy: the distribution.
        keys: random keys of the rows, shape (rows,).
        limits: longest sentence of each row, end symbol included; at least 1, shape (rows,).
        prefix: words with which each row begins, padding behind them, shape (rows, length). They are no choices of the
            policy. A prefix holds no end symbol and is shorter than the row's limit. None forces nothing.
    """
    rows, longest = len(keys), int(limits.max())
    forced = 0 if prefix is None else prefix.size(1)
    numbers = uniform(keys, longest)
    tokens = torch.full((rows, longest + 1), pad, dtype=torch.long, device=keys.device)
    tokens[:, 0] = eos
    actions = torch.zeros_like(tokens, dtype=torch.bool)
    alive = torch.arange(rows, device=keys.device)
    going = torch.ones_like(alive, dtype=torch.bool)
    state: IncrementalState = {}
    length = 1
    while True:
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
        chosen = policy.choose(out[0][:, -1], numbers[alive, length - 1])
        own = torch.ones_like(going[keep])
        if length <= forced:
            given = prefix[alive, length - 1]
            own = given.eq(pad)
            chosen = torch.where(own, chosen, given)
        tokens[alive, length] = chosen
        actions[alive, length] = own
        going = chosen.ne(eos)
        length += 1
    width = int(tokens.ne(pad).sum(1).max())
    return Samples(tokens[:, 1:width], actions[:, 1:width])
