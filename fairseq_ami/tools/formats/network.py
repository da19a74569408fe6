"""A trained Transformer of fairseq, ready to be converted, and what no other format can hold of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.models.stock_network import build_network

# Attributes of a layer that hold a module only with settings which no other library knows (NormFormer's scales).
_EXTRA_SCALES = ("attn_ln", "ffn_layernorm", "w_resid", "c_attn")


@dataclass(frozen=True)
class TrainedNetwork:
    """An encoder-decoder in eval mode and float32, on the CPU.

    Attributes:
        module: fairseq's ``TransformerModel``.
        settings: of the network, complete.
        source, target: dictionaries of what it reads and writes.
    """

    module: Any
    settings: Dict[str, Any]
    source: Dictionary
    target: Dictionary

    @property
    def limits(self) -> Tuple[int, int]:
        """The longest source and the longest target, end symbols included."""
        return int(self.module.encoder.max_positions()), int(self.module.decoder.max_positions())

    @torch.no_grad()
    def logits(self, source: Tensor, target: Tensor) -> Tensor:
        """Teacher-forced logits of one sentence pair, shape (target length, target vocabulary).

        Args:
            source, target: ids with the end symbol, shape (length,).
        """
        previous = torch.cat([target.new_tensor([self.target.eos()]), target[:-1]])
        return self.module(source[None], torch.tensor([len(source)]), previous[None])[0][0].float()

    def log_prob(self, source: Tensor, target: Tensor) -> float:
        """log P(target | source) in nats, end symbol included."""
        per_word = self.logits(source, target).double().log_softmax(-1)
        return float(per_word.gather(1, target[:, None]).sum())


def load_network(plain: Dict[str, Any], dictionaries: Sequence[Path], what: str) -> TrainedNetwork:
    """The network of a plain checkpoint.

    Args:
        plain: what ``tools.sharing.states.plain_state`` or ``stock_state`` returns.
        dictionaries: files of the source's and of the target's dictionary.
        what: name of the format, for messages.

    Raises:
        AMIError: no Transformer, or one with parts that the other formats do not have.
    """
    settings = plain["cfg"]["model"]
    if settings["_name"] != "transformer":
        raise AMIError(
            f"--format {what} takes Transformers, and this network is fairseq's {settings['_name']!r}: "
            "keep it in fairseq's format"
        )
    source, target = (Dictionary.load(str(path)) for path in dictionaries)
    module = build_network(TransformerModel, settings, source, target, "exported")
    module.load_state_dict({key: value.float() for key, value in plain["model"].items()}, strict=True)
    module.eval().requires_grad_(False)
    network = TrainedNetwork(module, settings, source, target)
    refuse(what, _unknown_parts(network))
    return network


def refuse(what: str, reasons: List[str]) -> None:
    """Stop at the first reason.

    Raises:
        AMIError: there is one.
    """
    if reasons:
        raise AMIError(f"--format {what} cannot hold this network: {reasons[0]}. Keep it in fairseq's format")


def _unknown_parts(network: TrainedNetwork) -> List[str]:
    """Why neither CTranslate2 nor Hugging Face transformers computes what this network computes."""
    get, encoder, decoder = network.settings.get, network.module.encoder, network.module.decoder
    layers = [*encoder.layers, *decoder.layers]
    before = [bool(get(f"{side}_normalize_before")) for side in ("encoder", "decoder")]
    words = {True: "before", False: "after"}
    checks = {
        f"the encoder normalises {words[before[0]]} its layers and the decoder {words[before[1]]} them, and the "
        "format has one setting for both": before[0] != before[1],
        "it has no position embeddings": encoder.embed_positions is None or decoder.embed_positions is None,
        "the decoder has no final normalisation (--no-decoder-final-norm)": before[1] and decoder.layer_norm is None,
        "its attention to the source was removed or merged (--no-cross-attention, --cross-self-attention)": bool(
            get("no_cross_attention") or get("cross_self_attention")
        ),
        "the decoder projects its input or output to another size (--decoder-input-dim, --decoder-output-dim)": (
            decoder.project_in_dim is not None or decoder.project_out_dim is not None
        ),
        "it has layers of experts (--base-layers)": bool(get("base_layers")),
        "its layers have scales of their own (--scale-attn, --scale-fc, --scale-heads, --scale-resids)": any(
            getattr(layer, name, None) is not None for layer in layers for name in _EXTRA_SCALES
        ),
    }
    return [reason for reason, holds in checks.items() if holds]


def probes(network: TrainedNetwork, count: int = 8, longest: int = 12) -> List[Tuple[Tensor, Tensor]]:
    """Pairs of random sentences of different lengths, by which a conversion is compared with the original.

    Returns:
        Ids of source and target with their end symbols; always the same for the same dictionaries.
    """
    draws = torch.Generator().manual_seed(0)
    pairs = []
    for number in range(count):
        pair = []
        for dictionary, limit in zip((network.source, network.target), network.limits):
            length = max(1, min(1 + (5 * number) % longest, limit - 1))
            low, high = min(dictionary.nspecial, len(dictionary) - 1), len(dictionary)
            words = torch.randint(low, high, (length,), generator=draws)
            pair.append(torch.cat([words, torch.tensor([dictionary.eos()])]))
        pairs.append((pair[0], pair[1]))
    return pairs
