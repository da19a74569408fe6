"""Settings of fairseq's networks that a pair refuses: they would do nothing, or something else than they say."""

from typing import Any, Dict, List, Optional

from fairseq_ami.errors import AMIError
from fairseq_ami.models.explicit_settings import explicit

# in a network's own settings, wherever they come from
HARMFUL: Dict[str, str] = {
    "merge_src_tgt_embed": "would give words the vectors of others, for the data keep the numbers of two dictionaries: "
    "binarise with fairseq-preprocess --joined-dictionary and pass --share-all-embeddings",
    "base_layers": "gives each worker weights of its own: leave it out",
    "no_cross_attention": "makes networks that do not read what they translate: pass --cross-self-attention as "
    "well, or leave it out",
}
# asked for on the command line, and without effect: in fairseq's own Transformer and LSTM, or here
IDLE: Dict[str, str] = {
    "adaptive_softmax_cutoff": "an adaptive softmax is not supported: a reward needs every word's probability",
    "adaptive_softmax_dropout": "an adaptive softmax is not supported: leave it out",
    "adaptive_softmax_factor": "an adaptive softmax is not supported: leave it out",
    "tie_adaptive_weights": "an adaptive softmax is not supported: leave it out",
    "tie_adaptive_proj": "an adaptive softmax is not supported: leave it out",
    "adaptive_input": "is for fairseq's language models and has no effect here: leave it out",
    "char_inputs": "has no effect in fairseq's networks: leave it out",
    "encoder_layers_to_keep": "does not work in fairseq: prune the network first, and pass its checkpoint",
    "decoder_layers_to_keep": "does not work in fairseq: prune the network first, and pass its checkpoint",
}


def refuse_options(args: Dict[str, Any]) -> None:
    """Refuse options of the networks that would have no effect.

    Args:
        args: settings of a new pair, among them which were asked for.

    Raises:
        AMIError: with the option and what to do.
    """
    asked = explicit(args, list(IDLE))
    _refuse(asked, IDLE, [name for name in asked if asked[name]], None)


def refuse_network(settings: Dict[str, Any], checkpoint: Optional[str] = None) -> None:
    """Refuse a network that would train something else than its settings say.

    Args:
        settings: of the network.
        checkpoint: where they come from; None for the command line.

    Raises:
        AMIError: with the option, the checkpoint and what to do.
    """
    names = [name for name in HARMFUL if settings.get(name)]
    if settings.get("cross_self_attention"):
        names = [name for name in names if name != "no_cross_attention"]
    _refuse(settings, HARMFUL, names, checkpoint)


def _refuse(settings: Dict[str, Any], table: Dict[str, str], names: List[str], checkpoint: Optional[str]) -> None:
    for name in names[:1]:
        of = f" (of {checkpoint})" if checkpoint else ""
        value = "" if settings[name] is True else f" {settings[name]}"
        raise AMIError(f"--{name.replace('_', '-')}{value}{of}: {table[name]}")
