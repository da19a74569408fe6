"""``ami_hred``: the pair over two hierarchical encoder-decoders."""

from argparse import ArgumentParser
from dataclasses import fields
from typing import Any, Dict

from fairseq.models import register_model, register_model_architecture

from fairseq_ami.models.explicit_settings import remember_explicit
from fairseq_ami.models.hred import HRED
from fairseq_ami.models.hred_config import DIALOG, PARK, TINY, HREDConfig, fill_in
from fairseq_ami.models.pair_latent import HREDLatent
from fairseq_ami.models.pair_settings import add_pair_args, pair_defaults
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.types import Arguments

# of all sizes; how long sentences may be is the task's to say
_DEFAULTS = {each.name: each.default for each in fields(HREDConfig) if not each.name.startswith(("_", "max_"))}


@register_model("ami_hred")
class AMIHRED(PairedModel):
    """P(T|S), Q(S|T) and latent noise over HREDs; in dialogue both read histories that they cut at ``<sep>``."""

    network_class = HRED
    latent = HREDLatent

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        HRED.add_args(parser)
        add_pair_args(parser)


def _architecture(name: str, sizes: Dict[str, Any]) -> None:
    @register_model_architecture("ami_hred", name)
    def apply(args: Arguments) -> None:
        remember_explicit(args)
        fill_in(args, {**_DEFAULTS, **sizes})
        pair_defaults(args)


_architecture("ami_hred", {})
_architecture("ami_hred_tiny", TINY)
_architecture("ami_hred_dialog", DIALOG)
_architecture("ami_hred_park", PARK)
