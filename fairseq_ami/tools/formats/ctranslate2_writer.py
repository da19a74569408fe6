"""fairseq's Transformers as folders of CTranslate2, an engine for inference without fairseq and torch.

CTranslate2 starts the output with the end symbol and ends the input with it, as fairseq does.
"""

import os
import tempfile
from typing import Any, List, Optional

import torch
from fairseq.data import Dictionary

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.network import TrainedNetwork, probes, refuse
from fairseq_ami.tools.formats.optional import needed

NAME = "ctranslate2"
PAD = "<blank>"  # what CTranslate2 calls the padding symbol
TOLERANCE = 1e-3  # nats per token; the differences of float32 were below 1e-5


def symbols(dictionary: Dictionary) -> List[str]:
    """The vocabulary of CTranslate2: the symbols of a fairseq dictionary in their order."""
    return [PAD if index == dictionary.pad() else symbol for index, symbol in enumerate(dictionary.symbols)]


def write_network(network: TrainedNetwork, folder: str, quantization: Optional[str] = None) -> None:
    """Convert a network, and compare the result with the original before it is quantized.

    Args:
        network: the original.
        folder: that the converted network is written to; it does not exist yet.
        quantization: ``int8`` or ``float16``; None keeps float32.

    Raises:
        AMIError: CTranslate2 is not installed, it has no place for a part of the network, or its result differs.
    """
    needed(NAME, f"--format {NAME}")
    refuse(NAME, unknown_parts(network))
    with tempfile.TemporaryDirectory() as check:
        _convert(network, os.path.join(check, "float32"), None)
        _compare(network, os.path.join(check, "float32"))
    _convert(network, folder, quantization)


def unknown_parts(network: TrainedNetwork) -> List[str]:
    """Why CTranslate2 cannot compute what this network computes."""
    heads = [network.settings[f"{side}_attention_heads"] for side in ("encoder", "decoder")]
    activation = network.settings.get("activation_fn", "relu")
    checks = {
        f"the encoder has {heads[0]} attention heads and the decoder {heads[1]}": heads[0] != heads[1],
        f"it does not know the activation {activation!r} (--activation-fn)": activation not in _activations(),
        "a symbol stands in its dictionary twice": any(
            len(set(symbols(dictionary))) < len(dictionary) for dictionary in (network.source, network.target)
        ),
    }
    return [reason for reason, holds in checks.items() if holds]


def _activations() -> Any:
    from ctranslate2.specs.common_spec import Activation

    return {
        "relu": Activation.RELU,
        "gelu": Activation.GELU,
        "gelu_accurate": Activation.GELUTanh,
        "gelu_fast": Activation.GELUTanh,
        "swish": Activation.SWISH,
    }


def _specification(network: TrainedNetwork) -> Any:
    """CTranslate2's description of the network, with its weights."""
    from ctranslate2.converters import fairseq as converter
    from ctranslate2.specs import TransformerSpec

    settings, encoder, decoder = network.settings, network.module.encoder, network.module.decoder
    spec = TransformerSpec.from_config(
        (len(encoder.layers), len(decoder.layers)),
        settings["encoder_attention_heads"],
        pre_norm=bool(settings["encoder_normalize_before"]),
        activation=_activations()[settings.get("activation_fn", "relu")],
        layernorm_embedding=encoder.layernorm_embedding is not None,
    )
    with torch.no_grad():
        converter.set_transformer_encoder(spec.encoder, encoder)
        converter.set_transformer_decoder(spec.decoder, decoder)
    spec.register_source_vocabulary(symbols(network.source))
    spec.register_target_vocabulary(symbols(network.target))
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    return spec


def _convert(network: TrainedNetwork, folder: str, quantization: Optional[str]) -> None:
    spec = _specification(network)
    try:
        spec.validate()
        spec.optimize(quantization=quantization)
    except (ValueError, RuntimeError) as error:
        raise AMIError(f"CTranslate2 refuses this network: {error}") from error
    os.makedirs(folder)
    spec.save(folder)


def _compare(network: TrainedNetwork, folder: str) -> None:
    """Hold CTranslate2's log-probabilities of a few sentences to fairseq's.

    Raises:
        AMIError: they differ, so that this version of CTranslate2 means something else by the same weights.
    """
    import ctranslate2

    pairs = probes(network)
    translator = ctranslate2.Translator(folder, device="cpu", compute_type="float32", intra_threads=1)
    texts = [
        [[dictionary[index] for index in side[:-1].tolist()] for side in sides]
        for dictionary, sides in zip((network.source, network.target), zip(*pairs))
    ]
    found = translator.score_batch(*texts)
    for (source, target), score in zip(pairs, found):
        expected, got = network.log_prob(source, target), sum(score.log_probs)
        if not abs(expected - got) <= TOLERANCE * len(target):
            raise AMIError(
                f"CTranslate2 {ctranslate2.__version__} gives a sentence the log-probability {got:.4f}, fairseq "
                f"{expected:.4f}: nothing is written. Please report this with the network's settings"
            )
