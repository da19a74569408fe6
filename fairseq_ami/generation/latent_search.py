"""Beam search under several draws of a dialogue model's latent variables: replies that differ in what they say."""

from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from fairseq.models import BaseFairseqModel
from fairseq.sequence_generator import SequenceGenerator

from fairseq_ami.errors import AMIError
from fairseq_ami.generation.drawn_search import DrawnSearch
from fairseq_ami.models.latent_dialogue import LatentHRED
from fairseq_ami.types import Hypotheses, Search


@dataclass
class LatentSearchSettings:
    latent_draws: int = field(
        default=0,
        metadata={
            "help": "draws of the latent variables of vhred, dir_vhred or vhcr with which each history is decoded, for "
            "n-best lists; 0: one draw, and the n-best of its search"
        },
    )


class LatentSearch(DrawnSearch):
    """Searches under several z from the prior, one after the other.

    Args:
        generator: a stock generator.
        models: with latent variables.
        draws: z for each history.

    Raises:
        AMIError: a model without them.
    """

    def __init__(self, generator: SequenceGenerator, models: Sequence[BaseFairseqModel], draws: int):
        super().__init__(generator, draws)
        if not all(isinstance(model, LatentHRED) for model in models):
            raise AMIError("--latent-draws needs a model with latent variables: vhred, dir_vhred or vhcr")
        self.models = models

    def use(self, draw: int) -> None:
        for model in self.models:
            model.encoder.draw = draw

    def generate(self, models: Sequence[BaseFairseqModel], sample: Mapping[str, Any], **kwargs: Any) -> Hypotheses:
        """One hypothesis a draw for each history, best score first; afterwards the first draw counts again."""
        try:
            return super().generate(models, sample, **kwargs)
        finally:
            self.use(0)


def with_latent_draws(generator: Search, models: Sequence[BaseFairseqModel], draws: int, seed: int) -> Search:
    """The generator under *draws* of z (0: itself), whose z are those of *seed*.

    Raises:
        AMIError: draws for models without latent variables, or a number below 0.
    """
    for model in models:
        if isinstance(model, LatentHRED):
            model.encoder.latent_seed = seed
    if draws < 0:
        raise AMIError("--latent-draws must not be negative")
    return LatentSearch(generator, models, draws) if draws else generator
