"""Sums from ``vae_mine_elbo`` -> ratios in fairseq's logs."""

import math
from typing import Any, Dict, List

from fairseq import utils
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict

from fairseq_ami.criterions.sums import total_sums
from fairseq_ami.metrics.latent import ACTIVE_VARIANCE

# name -> (numerator, denominator), in nats
RATIOS = {
    "reconstruction": ("reconstruction", "nsentences"),
    "kl": ("kl", "nsentences"),
    "iw_nll": ("iw_nll", "nsentences"),
    "bow": ("bow", "nsentences"),
    "mmd": ("mmd", "nsentences"),
    "mi": ("information", "information_sentences"),
    "bound": ("bound", "bound_sentences"),
}


def _active_units(meters: MetersDict) -> int:
    """Dimensions whose posterior mean has an unbiased variance of at least 0.01 over all that was validated."""
    count, total, square = (meters[name].sum for name in ("_mean_count", "_mean_sum", "_mean_square"))
    if count < 2:
        return 0
    variance = (square - total.pow(2) / count) / (count - 1)
    return int((variance >= ACTIVE_VARIANCE).sum())


def log_vae_metrics(logs: List[Dict[str, Any]]) -> None:
    """Log the loss in bits per sentence (fairseq's custom), -ELBO at beta = 1 in nats, and whatever else is there."""
    total = total_sums(logs)
    sentences, tokens = total.get("nsentences", 0.0), total.get("ntokens", 0.0)
    if sentences == 0:
        return
    metrics.log_scalar("loss", total["loss"] / sentences / math.log(2), sentences, round=3)
    nll = total["reconstruction"] + total["kl"]
    metrics.log_scalar("nll", nll / sentences, sentences, round=3)
    metrics.log_scalar("nll_loss", nll / tokens / math.log(2), tokens, round=3)
    metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
    for name, (numerator, denominator) in RATIOS.items():
        if numerator in total and total[denominator] > 0:
            metrics.log_scalar(name, total[numerator] / total[denominator], total[denominator], round=4)
    log_active_units(logs, sentences)


def log_active_units(logs: List[Dict[str, Any]], sentences: float) -> None:
    """Log ``au`` from the moments of the posterior means of so many *sentences*, if there are any."""
    if any("mean_sum" in log for log in logs):
        # in meters of fairseq's own, which alone it finds again in a checkpoint
        metrics.log_scalar_sum("_mean_count", sentences)
        for name in ("mean_sum", "mean_square"):
            metrics.log_scalar_sum(f"_{name}", sum(log[name] for log in logs if name in log).cpu())
        metrics.log_derived("au", _active_units)
