"""Types of what fairseq hands around as plain dictionaries and duck-typed objects."""

from argparse import Namespace
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypedDict,
    TypeVar,
    Union,
)

import torch
from fairseq.data import Dictionary
from fairseq.models import BaseFairseqModel, FairseqEncoderDecoderModel
from omegaconf import DictConfig
from torch import Tensor
from typing_extensions import NotRequired

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # (items, what is done) -> the items, with a bar
Weights = List[Tensor]  # of a network, in the order of its parameters
UNLABELLED = "unlabelled_"  # begins the names of what sentences without references leave in a log
Log = Dict[str, Any]  # sums to log: numbers, or tensors of shape ()
Arguments = Union[Namespace, DictConfig]  # settings of a model or of a search, from argparse or from hydra
Network = FairseqEncoderDecoderModel  # one of a pair: fairseq's Transformer or its LSTM
TransformerOut = Dict[str, List[Tensor]]  # what fairseq's Transformer encoder returns
LSTMOut = Tuple[Tensor, Tensor, Tensor, Tensor]  # of its LSTM encoder: outputs, hidden states, cells, padding mask
HREDOut = Dict[str, Tensor]  # of a hierarchical encoder: what its decoder is conditioned on, z
EncoderOut = Union[TransformerOut, LSTMOut, HREDOut]
DecoderOut = Tuple[Tensor, Optional[Dict[str, Any]]]  # logits (batch, length, vocabulary); attention and the like
IncrementalState = Dict[str, Dict[str, Optional[Tensor]]]  # what a decoder keeps from one word to the next
Hypotheses = List[List[Dict[str, Tensor]]]  # what a search found for each source, best first

Condition = TypeVar("Condition")  # what a decoder makes of z


class NetInput(TypedDict):
    """What an encoder-decoder reads.

    Keys:
        src_tokens: shape (batch, source length).
        src_lengths: shape (batch,).
        prev_output_tokens: the target shifted right, shape (batch, target length).
    """

    src_tokens: Tensor
    src_lengths: Tensor
    prev_output_tokens: Tensor


class Batch(TypedDict):
    """A batch of sentence pairs, as fairseq's ``LanguagePairDataset`` collates it.

    Keys:
        id: sentence ids, shape (batch,).
        nsentences: number of sentences.
        ntokens: number of target tokens.
        net_input: what the network reads.
        target: what it writes, shape (batch, target length), padded; None of sentences without references.
        reverse: in dialogue the batch of the backward network.
        unlabelled: a batch of sentences without references, which comes along.
        spare: of such a batch: it stands in for one without sentences, and counts for nothing.
        context: in a reverse batch what is read before each sentence, shape (batch, context length).
        source_limit: in a reverse batch the most symbols of context and sentence together.
    """

    id: Tensor
    nsentences: int
    ntokens: int
    net_input: NetInput
    target: Tensor
    reverse: NotRequired["Batch"]
    unlabelled: NotRequired["Batch"]
    spare: NotRequired[bool]
    context: NotRequired[Tensor]
    source_limit: NotRequired[int]


class PairTaskSettings(Protocol):
    """Settings of a task whose model is a pair of networks."""

    source_lang: str
    target_lang: str
    pretrain_updates: int
    noise_updates: int
    phase_cycle: str
    reset_optimizer: bool


class PairTask(Protocol):
    """A task whose model is a pair of networks (``ami_translation``, ``ami_dialog``)."""

    cfg: PairTaskSettings

    @property
    def source_dictionary(self) -> Dictionary: ...

    @property
    def target_dictionary(self) -> Dictionary: ...

    @property
    def backward_languages(self) -> Tuple[str, str]: ...

    @property
    def separators(self) -> Tuple[int, ...]: ...


class DictionaryTask(Protocol):
    """A task with a dictionary for each side."""

    @property
    def source_dictionary(self) -> Dictionary: ...

    @property
    def target_dictionary(self) -> Dictionary: ...


class SentenceTask(Protocol):
    """A task over sentences of one language (``text_vae``)."""

    dictionary: Dictionary


class IndexedSentences(Protocol):
    """fairseq's indexed data: the tokens of each sentence, shape (length,), its end symbol included."""

    sizes: Sequence[int]

    def __getitem__(self, index: int) -> Tensor: ...

    def prefetch(self, indices: Sequence[int]) -> None:
        """Read sentences ahead; there only where ``supports_prefetch`` says so."""


class Symbols(Protocol):
    """Whoever knows the symbols of padding and of a sentence's end, such as a criterion."""

    pad: int
    eos: int


class Search(Protocol):
    """What fairseq calls a generator: its beam search, its scorer, or a search of our own."""

    def generate(
        self, models: "Sequence[BaseFairseqModel]", sample: Mapping[str, Any], **kwargs: Any
    ) -> Hypotheses: ...


class SentenceEncoder(Protocol):
    """Reads a sentence for a text VAE: tokens (batch, length) -> features (batch, output_size)."""

    output_size: int

    def __call__(self, tokens: Tensor) -> Tensor: ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...


class LatentDecoder(Protocol[Condition]):
    """A fairseq incremental decoder that writes what z of shape (batch, latent) tells it to."""

    dictionary: Dictionary

    def condition(self, z: Tensor) -> Condition:
        """The decoder's ``encoder_out`` for z."""

    def reorder_condition(self, encoder_out: Condition, order: Tensor) -> Condition:
        """Select rows of what :meth:`condition` returned."""


class Tracker(Protocol):
    """What the phased optimizer moves once per applied update, and keeps for a resume."""

    def add(self, phase: str, sums: Tensor) -> None:
        """Sums of a micro-batch."""

    def hold(self) -> None:
        """End of a step's micro-batches."""

    def commit(self, phase: str, group: "Optional[ProcessGroup]", device: Optional[torch.device]) -> None:
        """Count the update just made, a collective call over *group*."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Dict[str, Any]) -> None: ...
