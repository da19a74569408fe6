"""Settings and sizes of HRED and of the models that are built on it."""

from dataclasses import dataclass, field
from typing import Any, Dict, Tuple

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import register_model_architecture
from omegaconf import II

from fairseq_ami.errors import AMIError
from fairseq_ami.types import Arguments


@dataclass
class HREDConfig(FairseqDataclass):
    embed_dim: int = field(default=500, metadata={"help": "size of the word vectors"})
    encoder_hidden_size: int = field(default=1000, metadata={"help": "units a direction of the GRU over words"})
    encoder_layers: int = field(default=1, metadata={"help": "layers of the GRU over words"})
    context_hidden_size: int = field(default=1000, metadata={"help": "units of the GRU over utterances"})
    context_layers: int = field(default=1, metadata={"help": "layers of the GRU over utterances"})
    decoder_hidden_size: int = field(default=1000, metadata={"help": "units of the decoder"})
    decoder_layers: int = field(default=1, metadata={"help": "layers of the decoder"})
    decoder_cell: ChoiceEnum(("gru", "lstm")) = field(default="gru", metadata={"help": "recurrent cell of the decoder"})
    condition: ChoiceEnum(("first", "all")) = field(
        default="first",
        metadata={
            "help": "where the decoder reads the context: in its first state (Park et al. 2018), or also beside every "
            "word (Serban et al. 2016)"
        },
    )
    dropout: float = field(default=0.2, metadata={"help": "dropout on word vectors and on the decoder's outputs"})
    gru_init: ChoiceEnum(("torch", "park")) = field(
        default="torch",
        metadata={"help": "first weights: torch's, or orthogonal ones with an update bias of 2 (Park et al. 2018)"},
    )
    separate_embeddings: bool = field(
        default=False, metadata={"help": "word vectors of the decoder's own; else one table serves both sides"}
    )
    word_dropout: float = field(
        default=0.0,
        metadata={
            "help": "with --criterion dialog_elbo, hide each word that the decoder reads behind <unk> with this "
            "probability in training"
        },
    )
    max_source_positions: int = II("task.max_source_positions")
    max_target_positions: int = II("task.max_target_positions")


SIZES = (
    "embed_dim", "encoder_hidden_size", "encoder_layers", "context_hidden_size", "context_layers",
    "decoder_hidden_size", "decoder_layers",
)  # fmt: skip


def check_sizes(cfg: HREDConfig, more: Tuple[str, ...] = ()) -> None:
    """Refuse sizes that make no network.

    Raises:
        AMIError: with the flag.
    """
    for name in (*SIZES, *more):
        if getattr(cfg, name) < 1:
            raise AMIError(f"--{name.replace('_', '-')} must be at least 1")
    for name in ("word_dropout", "dropout"):
        if not 0 <= getattr(cfg, name) < 1:
            raise AMIError(f"--{name.replace('_', '-')} must be in [0, 1)")


TINY = {
    "embed_dim": 16, "encoder_hidden_size": 16, "context_hidden_size": 16, "decoder_hidden_size": 16, "dropout": 0.0,
}  # fmt: skip
DIALOG = {
    "embed_dim": 128, "encoder_hidden_size": 128, "context_hidden_size": 128, "decoder_hidden_size": 128,
    "dropout": 0.3,
}  # fmt: skip
PARK = {"gru_init": "park"}  # its sizes are the defaults


def fill_in(args: Arguments, settings: Dict[str, Any]) -> None:
    """Give *args* those of *settings* that it has not."""
    for key, value in settings.items():
        setattr(args, key, getattr(args, key, value))


def register_sizes(model: str, tiny: Dict[str, Any], dialog: Dict[str, Any], park: Dict[str, Any]) -> None:
    """Register the three sizes of *model*: ``_tiny`` for tests, ``_dialog`` of the recipes, ``_park``."""
    for suffix, settings in (("tiny", tiny), ("dialog", dialog), ("park", park)):
        _register(model, f"{model}_{suffix}", settings)


def _register(model: str, name: str, settings: Dict[str, Any]) -> None:
    @register_model_architecture(model, name)
    def apply(args: Arguments) -> None:
        fill_in(args, settings)
