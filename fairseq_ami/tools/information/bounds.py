"""The information that samples carry about their sources: VIM bounds and gaps of trained pairs.

Own bounds cannot be compared between systems (MMI's backward network is trained to raise its own): compare
them under one common Q. A gap on a system's own samples shrinks as the samples get better: the frozen samples
of one network are the same for all.
"""

from dataclasses import asdict, dataclass, replace
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Union

import numpy as np
import torch
from fairseq import utils
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_ami.data import reverse_sample
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import SamplerSettings, backward_log_likelihood, roll_out
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.random_streams import VALIDATION_UPDATE
from fairseq_ami.types import Batch, Network

Likeness = Callable[[PairedModel, Tensor, Batch], np.ndarray]  # pair, T or T', reversed batch -> one score a sentence


@dataclass
class Information:
    """Of one system on held-out data; nats.

    Attributes:
        bound, bound_token: E[log Q(S|T')] a sentence and a token of S, T' from the system's own P,
            under the system's own Q (equation 3).
        bound_common, bound_common_token: the same under the common Q.
        gap: NLL(S|T') - NLL(S|T) a token, own Q, own samples.
        gap_frozen: the same on the frozen samples.
        nll_real: NLL(S|T) a token under the own Q.
        forward_nll: NLL(T|S) a token.
        likeness_real, likeness_own, likeness_frozen: mean embedding average between S and what the own Q decodes
            from T, from the own samples T', from the frozen ones (Table 2).
    """

    bound: float
    bound_token: float
    bound_common: Optional[float]
    bound_common_token: Optional[float]
    gap: float
    gap_frozen: Optional[float]
    nll_real: float
    forward_nll: float
    likeness_real: Optional[float] = None
    likeness_own: Optional[float] = None
    likeness_frozen: Optional[float] = None

    def as_dict(self) -> Dict[str, Optional[float]]:
        """For JSON."""
        return asdict(self)


def sampler_settings(dictionary: Dictionary, seed: int, separators: Sequence[int] = ()) -> SamplerSettings:
    """One ancestral sample a source from the whole distribution; *separators* are never drawn."""
    policy = Policy((dictionary.pad(), dictionary.bos(), *separators))
    return SamplerSettings(policy, "ancestral", 1, 1.5, 10, seed, dictionary.pad(), dictionary.eos())


@torch.no_grad()
def measure(
    pair: PairedModel,
    batches: Iterable[Batch],
    dictionary: Dictionary,
    seed: int = 1,
    common: Optional[PairedModel] = None,
    frozen: Optional[PairedModel] = None,
    separators: Sequence[int] = (),
    likeness: Optional[Likeness] = None,
) -> Information:
    """Measure *pair* on *batches* of the forward direction.

    No sample is longer than what every backward network that scores it can read.

    Args:
        pair: a paired model in eval mode.
        batches: fairseq batches.
        dictionary: of the target side.
        seed: of the samples; the same seed, data and network give the same samples.
        common: the pair whose backward network is the common Q, or None.
        frozen: the pair whose forward network draws the frozen samples, or None.
        separators: symbols that no network writes (of the task).
        likeness: of what the backward network decodes to the real S, by
            :class:`~fairseq_ami.tools.information.reconstruction.Reconstruction`; None leaves it out.
    """
    settings = sampler_settings(dictionary, seed, separators)
    frozen_settings = replace(settings, seed=seed + 1, longest=_reads(pair))
    if common is not None:
        settings = replace(settings, longest=_reads(common))
    totals: Dict[str, float] = {}

    def add(name: str, value: Union[float, Tensor]) -> None:
        totals[name] = totals.get(name, 0.0) + float(value)

    def add_likeness(name: str, tokens: Tensor, reverse: Batch) -> None:
        if likeness is not None:
            add(f"likeness_{name}", likeness(pair, tokens, reverse).sum())

    device = next(pair.parameters()).device
    for batch in batches:
        batch = utils.move_to_cuda(batch, device)  # to any device, whatever its name says
        reverse = reverse_sample(batch, settings.pad, settings.eos)
        add("sentences", len(batch["id"]))
        add("source_tokens", reverse["ntokens"])
        add("target_tokens", batch["ntokens"])
        add("forward", _real(pair, pair.forward_model, batch))
        add("real", _real(pair, pair.backward_model, reverse))
        add_likeness("real", batch["target"], reverse)
        own = roll_out(pair, batch, settings, VALIDATION_UPDATE, noise=False, score=False).samples.tokens
        add("own", backward_log_likelihood(pair, own, reverse, settings.pad).sum())
        add_likeness("own", own, reverse)
        if common is not None:
            add("common", backward_log_likelihood(common, own, reverse, settings.pad).sum())
        if frozen is not None:
            other = roll_out(frozen, batch, frozen_settings, VALIDATION_UPDATE, noise=False, score=False)
            add("frozen", backward_log_likelihood(pair, other.samples.tokens, reverse, settings.pad).sum())
            add_likeness("frozen", other.samples.tokens, reverse)
    return _information(totals)


def _reads(pair: PairedModel) -> int:
    """Symbols that the backward network can read."""
    return int(pair.backward_model.encoder.max_positions())


def _real(pair: PairedModel, network: Network, batch: Batch) -> Tensor:
    return pair.log_likelihood(network, batch["net_input"], batch["target"]).sum()


def _information(t: Dict[str, float]) -> Information:
    tokens, sentences = t["source_tokens"], t["sentences"]
    return Information(
        bound=t["own"] / sentences,
        bound_token=t["own"] / tokens,
        bound_common=t["common"] / sentences if "common" in t else None,
        bound_common_token=t["common"] / tokens if "common" in t else None,
        gap=(t["real"] - t["own"]) / tokens,
        gap_frozen=(t["real"] - t["frozen"]) / tokens if "frozen" in t else None,
        nll_real=-t["real"] / tokens,
        forward_nll=-t["forward"] / t["target_tokens"],
        **{name: total / sentences for name, total in t.items() if name.startswith("likeness_")},
    )


def table(rows: Dict[str, Information]) -> List[List[str]]:
    """Header and one row a system, as text."""
    fields = list(Information.__dataclass_fields__)
    lines = [["system", *fields]]
    for name, row in rows.items():
        lines.append([name, *("-" if v is None else f"{v:.3f}" for v in row.as_dict().values())])
    return lines
