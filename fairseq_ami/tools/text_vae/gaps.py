"""Why -ELBO is above -log p(x): what a better posterior for each sentence would gain (Cremer et al. 2018)."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from torch import Tensor

from fairseq_ami.data.sentences import SentenceDataset, batches_by_length
from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.latent import log_mean_exp
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.random_streams import Stream, normal, stream_keys
from fairseq_ami.tools.text_vae.likelihood import Settings, collated, log_weights
from fairseq_ami.types import Progress

DRAWS = 32  # z per sentence for -ELBO, where importance weights do not ask for more
_SHARE = 8  # a step back through the decoder holds about so many times as much as one forward; and the bar moves


@dataclass(frozen=True)
class Optimisation:
    """How each sentence's posterior is optimised.

    Attributes:
        steps: of Adam on its mean and log-variance, from the encoder's; one z per sentence and step.
        rate: of the first step; it falls to 0 along a line.
        sentences: how many of a text are taken, at random; 0: all.
    """

    steps: int = 50
    rate: float = 0.05
    sentences: int = 500


@dataclass(frozen=True)
class Gaps:
    """Means over the sentences, in nats.

    Attributes:
        text: name of the split.
        sentences: how many were measured.
        nll: -ELBO with the encoder's posterior.
        svi_nll: -ELBO with the optimised posterior, from samples that the optimisation has not seen. It is as valid an
            upper bound on -log p(x) as *nll*, of a model whose inference takes that many steps per sentence.
        iw_nll: importance-weighted bound with the encoder's posterior; None without samples for it.
        amortisation: nll - svi_nll, what the encoder loses because it is one network for all sentences.
        amortisation_error: standard error of that mean.
        approximation: svi_nll - iw_nll, what no diagonal Gaussian can gain, and what the optimisation has not found.
    """

    text: str
    sentences: int
    nll: float
    svi_nll: float
    iw_nll: Optional[float]
    amortisation: float
    amortisation_error: float
    approximation: Optional[float]

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        return asdict(self)


def overfit(test: Gaps, training: Gaps) -> float:
    """What the encoder loses on text that it was not trained on, beside what it loses on its training text."""
    return test.amortisation - training.amortisation


def measure_gaps(
    model: TextVAE, dataset: SentenceDataset, text: str, settings: Settings, how: Optimisation, progress: Progress
) -> Gaps:
    """Measure *model* on sentences of *dataset* that are not longer than it and *settings* allow.

    Args:
        model: with a latent variable, in eval mode.
        text: name of the data set.
        settings: ``iw_samples``, ``max_tokens`` and ``seed`` are used.
        progress: called with batches and what is being done, returns the batches; for a progress bar.

    Raises:
        AMIError: no sentence is short enough.
    """
    longest = min(model.max_positions(), settings.max_tokens)
    part = _some(dataset, longest, how.sentences, settings.seed)
    if len(part) == 0:
        raise AMIError(f"no sentence of {text} is short enough to be measured: raise --max-tokens")
    elbo, optimised, weighted = (np.empty(len(part)) for _ in range(3))
    budget = max(int(part.lengths.max()), settings.max_tokens // _SHARE)
    batches = batches_by_length(part, np.arange(len(part)), budget)
    for rows in progress(batches, f"{how.steps} steps on {text}"):
        batch = collated(model, part, rows)
        with torch.no_grad():
            posterior, _ = model.posterior(batch["target"])
            samples = settings.iw_samples or DRAWS
            chunks = list(log_weights(model, batch, posterior, settings, Stream.EVAL_IMPORTANCE, samples))
            elbo[rows], weighted[rows] = _numpy(torch.cat(chunks, 1).double().mean(1)), _numpy(log_mean_exp(chunks))
        better = optimised_posterior(model, batch, posterior, how, settings.seed)
        with torch.no_grad():
            chunks = list(log_weights(model, batch, better, settings, Stream.EVAL_OPTIMISED, DRAWS))
            optimised[rows] = _numpy(torch.cat(chunks, 1).double().mean(1))
    gained = optimised - elbo
    iw_nll = -float(weighted.mean()) if settings.iw_samples else None
    svi_nll = -float(optimised.mean())
    return Gaps(
        text=text,
        sentences=len(part),
        nll=-float(elbo.mean()),
        svi_nll=svi_nll,
        iw_nll=iw_nll,
        amortisation=float(gained.mean()),
        amortisation_error=float(gained.std(ddof=1)) / math.sqrt(len(part)) if len(part) > 1 else math.nan,
        approximation=None if iw_nll is None else svi_nll - iw_nll,
    )


def optimised_posterior(
    model: TextVAE, batch: Dict[str, Tensor], posterior: DiagonalGaussian, how: Optimisation, seed: int
) -> DiagonalGaussian:
    """The posterior of each sentence after *how.steps* of gradient ascent on its own ELBO (SVI, Kim et al. 2018).

    All sentences of the batch take a step at a time. Adam treats each number by itself, so a sentence's result does not
    depend on the others; nor do its random numbers.

    Args:
        batch: ``id``, shape (batch,), and ``target``, shape (batch, length).
        posterior: where it starts.
    """
    mean, log_variance = (part.detach().clone().requires_grad_() for part in (posterior.mean, posterior.log_variance))
    optimizer = torch.optim.Adam([mean, log_variance], lr=how.rate)
    needed = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in needed:
        parameter.requires_grad = False
    try:
        # cuDNN's LSTM has no gradient in eval mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            for step in range(how.steps):
                optimizer.param_groups[0]["lr"] = how.rate * (1 - step / how.steps)
                keys = stream_keys(seed, step, Stream.EVAL_OPTIMISING, batch["id"], 1)
                current = DiagonalGaussian(mean, log_variance)
                z = current.sample(normal(keys, 1, mean.size(1))[:, 0])
                loss = (current.kl() - model.log_likelihood(batch["target"], z)).sum()
                mean.grad, log_variance.grad = torch.autograd.grad(loss, [mean, log_variance])
                optimizer.step()
    finally:
        for parameter in needed:
            parameter.requires_grad = True
    return DiagonalGaussian(mean.detach(), log_variance.detach())


def _some(dataset: SentenceDataset, longest: int, count: int, seed: int) -> SentenceDataset:
    """Some of the sentences that are short enough, always the same ones."""
    short = np.flatnonzero(dataset.lengths <= longest)
    if 0 < count < len(short):
        chosen: List[int] = torch.randperm(len(short), generator=torch.Generator().manual_seed(seed))[:count].tolist()
        short = short[np.sort(chosen)]
    return dataset.select(short)


def _numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
