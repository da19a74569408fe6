"""``dialog_gan``: a generator of replies with its discriminator (Li et al. 2017)."""

import logging
from argparse import ArgumentParser
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model, register_model_architecture
from fairseq.models.lstm import LSTMModel
from fairseq.models.transformer import TransformerModel
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fairseq_ami.checkpoints import architecture, model_class, part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.models.dialog_discriminator import DialogDiscriminator, DiscriminatorConfig
from fairseq_ami.models.hred import HRED
from fairseq_ami.models.hred_config import fill_in
from fairseq_ami.models.pair_settings import set_args
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.models.players import tag_players
from fairseq_ami.models.pretrained import check_quant_noise, load_network_weights, network_settings
from fairseq_ami.models.refused import refuse_network
from fairseq_ami.models.stock_network import build_network
from fairseq_ami.types import Arguments, EncoderOut, Network

logger = logging.getLogger(__name__)

GENERATORS: Dict[str, Type[Network]] = {"transformer": TransformerModel, "lstm": LSTMModel, "hred": HRED}
FLAG = "--generator-checkpoint"


@dataclass
class DialogGANConfig(DiscriminatorConfig):
    generator_checkpoint: Optional[str] = field(
        default=None,
        metadata={"help": "trained transformer, lstm or hred that the generator starts as; its sizes are taken over"},
    )


@register_model("dialog_gan")  # no dataclass: what rebuilds the generator is written into its settings
class DialogGAN(PairedModel):
    """A generator P(reply | history), its discriminator, and a linear baseline of the rewards.

    It decodes, and is exported, as the forward network of a pair is.
    """

    def __init__(self, generator: Network, discriminator: DialogDiscriminator):
        super().__init__(generator, None, None, mirrored=False)
        self.discriminator = discriminator
        self.baseline = nn.Linear(discriminator.out.in_features, 1)
        nn.init.zeros_(self.baseline.weight)
        nn.init.constant_(self.baseline.bias, 0.5)  # what an undecided discriminator pays
        tag_players(self.player_networks())

    @property
    def generator_model(self) -> Network:
        return self.forward_model

    # ------------------------------------------------------------------ building

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        gen_parser_from_dataclass(parser, DialogGANConfig(), delete_default=True)

    @classmethod
    def build_model(cls, args: Arguments, task: FairseqTask) -> "DialogGAN":
        """Build the generator as its checkpoint says, and a new discriminator.

        What rebuilds the generator is written into *args*, and so into the checkpoint.

        Raises:
            AMIError: no checkpoint, or one that does not fit.
        """
        set_args(args, no_backward_network=True)
        cls._languages(args, task)
        name, settings = generator_settings(args)
        source, target = task.source_dictionary, task.target_dictionary
        generator = build_network(GENERATORS[name], settings, source, target, "generator")
        return cls(generator, DialogDiscriminator.build_model(args, task))

    def load_pretrained(self, args: Arguments) -> None:
        """Copy the weights of ``--generator-checkpoint`` into the generator.

        Raises:
            AMIError: a checkpoint that is missing, damaged, or of another dictionary.
        """
        load_network_weights(self.forward_model, args.generator_checkpoint, "generator")
        logger.info("generator: weights of %s", args.generator_checkpoint)

    @classmethod
    def network_of(cls, settings: Mapping[str, Any]) -> Type[Network]:
        """The class of the generator, from the model's own settings."""
        return GENERATORS[settings["generator_network"]]

    # ------------------------------------------------------------------ players

    def player_networks(self) -> Dict[str, nn.Module]:
        """The players of the game and their networks."""
        others = {name: self._modules[name] for name in ("discriminator", "baseline") if name in self._modules}
        return {"generator": self.forward_model, **{name: part for name, part in others.items() if part is not None}}

    @staticmethod
    def encode(network: Network, tokens: Tensor, lengths: Tensor) -> EncoderOut:
        if isinstance(network, LSTMModel):  # whatever order the rows come in
            return network.encoder(tokens, src_lengths=lengths, enforce_sorted=False)
        return network.encoder(tokens, src_lengths=lengths)


def generator_settings(args: Arguments) -> Tuple[str, Dict[str, Any]]:
    """Which of :data:`GENERATORS` the generator is, and its settings: stored ones, else those of its checkpoint.

    Raises:
        AMIError: no checkpoint, or one of another model.
    """
    stored = getattr(args, "network_settings", None)
    if stored is not None:
        plain: Any = OmegaConf.to_container(stored) if isinstance(stored, DictConfig) else stored
        return args.generator_network, dict(plain["forward"])
    path = args.generator_checkpoint
    if not path:
        raise AMIError(f"--arch dialog_gan starts from a trained network: pass {FLAG} (a transformer, lstm or hred)")
    saved = part_of(read_checkpoint(path, FLAG, lazily=True), "model")
    name = next((name for name, network in GENERATORS.items() if model_class(saved) is network), None)
    if name is None:
        names: List[str] = list(GENERATORS)
        raise AMIError(
            f"{FLAG} {path} is of the architecture {architecture(saved)!r}: it takes a stock fairseq {names[0]!r} or "
            f"{names[1]!r}, or an {names[2]!r} (any of their sizes; of a pair: fairseq-ami export it first)"
        )
    settings = network_settings({}, path, GENERATORS[name], "generator")
    check_quant_noise(settings.get("quant_noise_pq"), checkpoint=path)
    refuse_network(settings, path)
    set_args(args, network_settings={"forward": settings}, generator_network=name)
    return name, settings


def _architecture(name: str, **sizes: Any) -> None:
    defaults = {each.name: each.default for each in fields(DialogGANConfig) if not each.name.startswith("_")}

    @register_model_architecture("dialog_gan", name)
    def apply(args: Arguments) -> None:
        fill_in(args, {**defaults, **sizes})


_architecture("dialog_gan")  # the sizes of Li et al.
_architecture("dialog_gan_tiny", discriminator_embed_dim=16, discriminator_hidden_size=16, discriminator_dropout=0.0)
_architecture("dialog_gan_dialog", discriminator_embed_dim=128, discriminator_hidden_size=128)
