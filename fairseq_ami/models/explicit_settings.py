"""Which settings of a network were asked for, and which are only an architecture's defaults."""

from typing import Any, Dict, List

from fairseq_ami.types import Arguments

_OWN = "explicit_settings"
# settings that change no weight's shape: the command line may overrule a checkpoint
FREE_SETTINGS = {
    "activation_dropout",
    "attention_dropout",
    "checkpoint_activations",
    "decoder_dropout_in",
    "decoder_dropout_out",
    "decoder_layerdrop",
    "dropout",
    "encoder_dropout_in",
    "encoder_dropout_out",
    "encoder_layerdrop",
    "offload_activations",
    "relu_dropout",
}


def remember_explicit(args: Arguments) -> None:
    """Note the settings that the user gave, before an architecture fills in its defaults.

    fairseq leaves out model flags that were not given, so what is there now was asked for.
    """
    if getattr(args, _OWN, None) is None:
        keys = args.keys() if hasattr(args, "keys") else vars(args).keys()
        setattr(args, _OWN, sorted(str(key) for key in keys if not str(key).startswith("_")))


def explicit(args: Dict[str, Any], names: List[str]) -> Dict[str, Any]:
    """Those of *names* that the user gave."""
    given = set(args.get(_OWN) or [])
    return {name: args[name] for name in names if name in given and name in args}
