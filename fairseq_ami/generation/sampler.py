"""Ancestral sampling for training: one batched incremental pass that drops finished rows."""

from dataclasses import dataclass
from typing import Any, Callable, Dict

import torch
from torch import Tensor

from fairseq_ami.generation.policy import Policy, draw
from fairseq_ami.generation.random_streams import uniform


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
    decoder: Any,
    encoder_out: Any,
    reorder_encoder_out: Callable[[Any, Tensor], Any],
    policy: Policy,
    keys: Tensor,
    max_len: int,
    pad: int,
    eos: int,
) -> Samples:
    """Draw one sentence a row from the policy of *decoder*.

    The caller has switched dropout off; nothing here depends on training or eval mode.

    Args:
        decoder: a fairseq incremental decoder.
        encoder_out: its encoder's output for every row.
        reorder_encoder_out: selects rows of *encoder_out*.
        policy: the distribution.
        keys: random keys of the rows, shape (rows,).
        max_len: longest sentence, end symbol included; at least 1.
    """
    rows = len(keys)
    numbers = uniform(keys, max_len)
    tokens = torch.full((rows, max_len + 1), pad, dtype=torch.long, device=keys.device)
    tokens[:, 0] = eos
    alive = torch.arange(rows, device=keys.device)
    state: Dict[str, Dict[str, Any]] = {}
    length = 1
    while length < max_len and len(alive) > 0:
        out = decoder(tokens[alive, :length], encoder_out=encoder_out, incremental_state=state)
        chosen = draw(policy.log_probs(out[0][:, -1]), numbers[alive, length - 1])
        tokens[alive, length] = chosen
        length += 1
        keep = chosen.ne(eos).nonzero().squeeze(1)
        if 0 < len(keep) < len(alive):
            encoder_out = reorder_encoder_out(encoder_out, keep)
            decoder.reorder_incremental_state_scripting(state, keep)
        alive = alive[keep]
    actions = tokens.ne(pad)
    if len(alive) > 0:  # the length limit: an end symbol that nobody chose
        tokens[alive, length] = eos
        length += 1
    return Samples(tokens[:, 1:length], actions[:, 1:length])
