"""Types of what fairseq hands around as plain dictionaries and duck-typed objects."""

from typing import Any, Callable, Dict, Iterable, List, Protocol, Tuple, TypedDict

from fairseq.data import Dictionary
from torch import Tensor
from typing_extensions import NotRequired

Weights = List[Tensor]  # of a network, in the order of its parameters
Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # (items, what is done) -> the items, with a bar
UNLABELLED = "unlabelled_"  # begins the names of what sentences without references leave in a log
Log = Dict[str, Any]  # sums to log: numbers, or tensors of shape ()


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


class PairTask(Protocol):
    """A task whose model is a pair of networks (``ami_translation``, ``ami_dialog``)."""

    cfg: Any

    @property
    def source_dictionary(self) -> Dictionary: ...

    @property
    def target_dictionary(self) -> Dictionary: ...

    @property
    def backward_languages(self) -> Tuple[str, str]: ...

    @property
    def separators(self) -> Tuple[int, ...]: ...
