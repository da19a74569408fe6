"""Sums from ``vae_mine_elbo`` -> ratios in fairseq's logs."""

import math
from typing import Any, Dict, List

import torch
from fairseq.logging import metrics
from fairseq.logging.meters import Meter
from torch import Tensor

from fairseq_ami.metrics.latent import ACTIVE_VARIANCE

# name -> (numerator, denominator), in nats
RATIOS = {
    "reconstruction": ("reconstruction", "nsentences"),
    "kl": ("kl", "nsentences"),
    "bow": ("bow", "nsentences"),
    "mmd": ("mmd", "nsentences"),
    "mi": ("information", "information_sentences"),
    "bound": ("bound", "bound_sentences"),
}


class MomentsMeter(Meter):
    """Number of active units, from sums over everything that was validated."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.count, self.total, self.square = (
            0.0,
            torch.zeros(1, dtype=torch.float64),
            torch.zeros(1, dtype=torch.float64),
        )

    def update(self, count: float, total: Tensor, square: Tensor) -> None:
        self.count += count
        self.total, self.square = self.total + total.cpu(), self.square + square.cpu()

    @property
    def smoothed_value(self) -> int:
        """Dimensions whose posterior mean has an unbiased variance of at least 0.01."""
        if self.count < 2:
            return 0
        variance = (self.square - self.total.pow(2) / self.count) / (self.count - 1)
        return int((variance >= ACTIVE_VARIANCE).sum())

    def state_dict(self) -> Dict[str, Any]:
        return {"count": self.count, "total": self.total.tolist(), "square": self.square.tolist()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.count = state["count"]
        self.total, self.square = (torch.tensor(state[key], dtype=torch.float64) for key in ("total", "square"))


def log_vae_metrics(logs: List[Dict[str, Any]]) -> None:
    """Log the loss in bits a sentence (fairseq's custom), -ELBO at beta = 1 in nats, and whatever else is there."""

    def total(key: str) -> Any:
        return sum(log[key] for log in logs if key in log)

    sentences, tokens = float(total("nsentences")), float(total("ntokens"))
    if sentences == 0:
        return
    present = {key for log in logs for key in log}
    metrics.log_scalar("loss", float(total("loss")) / sentences / math.log(2), sentences, round=3)
    nll = float(total("reconstruction")) + float(total("kl"))
    metrics.log_scalar("nll", nll / sentences, sentences, round=3)
    metrics.log_scalar("nll_loss", nll / tokens / math.log(2), tokens, round=3)
    metrics.log_derived("ppl", lambda meters: round(2 ** meters["nll_loss"].avg, 2))
    for name, (numerator, denominator) in RATIOS.items():
        if numerator in present and float(total(denominator)) > 0:
            metrics.log_scalar(
                name, float(total(numerator)) / float(total(denominator)), float(total(denominator)), round=4
            )
    if "mean_sum" in present:
        metrics.log_custom(MomentsMeter, "au", sentences, total("mean_sum"), total("mean_square"))
