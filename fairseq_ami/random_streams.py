"""Random numbers that depend on the sentence, not on the batch it happens to be in.

Every number is a hash of (seed, update, stream, sentence id, sample index, position). The same
samples are drawn whatever the batch layout, the number of workers or the device, and after a resume.
"""

import math
from enum import IntEnum

import torch
from torch import Tensor

VALIDATION_UPDATE = -1  # the "update" of validation: its samples are the same every time, and no update's


class Stream(IntEnum):
    """Every use of random numbers has a stream of its own, so that no two uses draw the same numbers."""

    TOKENS = 0  # words of T'
    NOISE = 1  # latent noise of T'
    SEARCH_NOISE = 2  # latent noise of a search (--latent-noise-draws)
    UNLABELLED = 3  # which sentences without references come with a pair
    RECONSTRUCTED_WORDS = 10
    INTERPOLATED_WORDS = 11
    VAE_POSTERIOR = 101  # training of a text VAE: z ~ q(z|x)
    VAE_PRIOR = 102  # z ~ p(z)
    VAE_WORDS = 103  # words that its decoder does not see
    VAE_ENCODER_WORDS = 104  # words that its encoder does not see
    DIALOG_SENTENCE = 111  # training of a dialogue model: z of a reply
    DIALOG_CONVERSATION = 112  # z of a conversation
    DIALOG_WORDS = 113  # words that the decoder does not see
    DIALOG_UTTERANCES = 114  # utterances that the context does not see
    DIALOG_IMPORTANCE = 115  # z of a reply, in the importance-weighted bound
    DIALOG_IMPORTANCE_CONVERSATION = 116
    COMPLETED_WORDS = 117  # words behind a prefix of T', in adversarial training
    PREFIX = 118  # how much of a reply a discriminator of prefixes sees
    SEARCHED = 119  # which machine replies are those of a search
    DIALOG_PRIOR = 121  # decoding: z of a reply
    DIALOG_PRIOR_CONVERSATION = 122
    EVAL_POSTERIOR = 201  # evaluation of a text VAE
    EVAL_IMPORTANCE = 202
    EVAL_PRIOR = 203
    EVAL_WORDS = 204
    EVAL_OPTIMISING = 205  # z while a sentence's posterior is optimised
    EVAL_OPTIMISED = 206  # z of the optimised posterior


# the mixing constants of SplitMix64 (Steele, Lea and Flood, 2014), as signed 64-bit integers
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's ``>>`` copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _wrap(number: int) -> int:
    """A Python integer as a signed 64-bit one."""
    return (number + 2**63) % 2**64 - 2**63


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def stream_keys(seed: int, update: int, stream: int, ids: Tensor, num_samples: int) -> Tensor:
    """One 64-bit key for each sample of each sentence.

    Args:
        ids: sentence ids, shape (batch,).
        num_samples: samples per sentence; those of one sentence are neighbours.

    Returns:
        int64 keys, shape (batch * num_samples,).
    """
    key = torch.zeros_like(ids, dtype=torch.int64)
    for part in (seed, update, stream):
        key = _mix(key + _wrap(_GOLDEN * (int(part) + 1)))
    key = _mix(key + _GOLDEN * (ids.long() + 1))
    samples = torch.arange(1, num_samples + 1, device=ids.device)
    return _mix(key.unsqueeze(1) + _GOLDEN * samples).reshape(-1)


def text_ids(tokens: Tensor, mask: Tensor) -> Tensor:
    """One 64-bit number for each text, instead of a sentence id where none is known.

    Equal texts have equal numbers, whatever the padding around them.

    Args:
        tokens: shape (batch, length).
        mask: True where a token counts, shape (batch, length).

    Returns:
        int64, shape (batch,).
    """
    places = mask.long().cumsum(1)
    each = _mix(_mix(tokens.long() + _GOLDEN * places) + _GOLDEN)
    return _mix((each * mask).sum(1))


def derived_keys(keys: Tensor, count: int) -> Tensor:
    """*count* keys that follow from each key, for parts that draw numbers of their own; shape (len(keys), count)."""
    counter = torch.arange(1, count + 1, device=keys.device)
    return _mix(_mix(keys.unsqueeze(1) + _GOLDEN * counter))  # once more than the numbers of the key itself


def uniform(keys: Tensor, count: int) -> Tensor:
    """Numbers strictly inside (0, 1), float32, shape (len(keys), count)."""
    counter = torch.arange(1, count + 1, device=keys.device)
    bits = _mix(keys.unsqueeze(1) + _GOLDEN * counter)
    return (_shift_right(bits, 41).float() + 0.5) * 2.0**-23


def normal(keys: Tensor, positions: int, channels: int) -> Tensor:
    """Standard normal numbers (Box and Muller, 1958), float32, shape (len(keys), positions, channels).

    The numbers of a position do not depend on how many positions are asked for.
    """
    half = (channels + 1) // 2
    u = uniform(keys, positions * 2 * half).view(len(keys), positions, 2 * half)
    radius = (-2.0 * u[..., :half].log()).sqrt()
    angle = 2.0 * math.pi * u[..., half:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=2)[..., :channels]
