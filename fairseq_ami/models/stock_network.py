"""Building one of fairseq's networks for a pair."""

from argparse import Namespace
from types import SimpleNamespace
from typing import Any, Dict, Type

from fairseq.data import Dictionary

from fairseq_ami.errors import AMIError
from fairseq_ami.types import Network


def build_network(
    network_class: Type[Network], settings: Dict[str, Any], source: Dictionary, target: Dictionary, direction: str
) -> Network:
    """An untrained network.

    Args:
        network_class: the fairseq model.
        settings: of the network.
        source, target: dictionaries of what it reads and writes.
        direction: ``forward`` or ``backward``, for messages.

    Raises:
        AMIError: settings that fairseq refuses, or an output layer that does not fit.
    """
    view = SimpleNamespace(source_dictionary=source, target_dictionary=target)
    # fairseq freezes a decoder's embedding only if it reads it from a file, which may be gone when a pair is loaded
    given = {**settings, "decoder_freeze_embed": False} if "decoder_freeze_embed" in settings else settings
    try:
        network = network_class.build_model(Namespace(**given), view)
    except (AssertionError, ValueError) as error:  # fairseq asserts what it expects of sizes
        raise AMIError(f"the {direction} network cannot be built: {error}") from error
    if getattr(network.decoder, "adaptive_softmax", None) is not None:
        raise AMIError("an adaptive softmax is not supported: a reward needs every word's probability")
    if settings.get("decoder_freeze_embed"):
        network.decoder.embed_tokens.weight.requires_grad = False
    return network
