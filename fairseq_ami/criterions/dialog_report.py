"""Sums from ``dialog_elbo`` -> ratios in fairseq's logs."""

import math
from typing import List

from fairseq import utils
from fairseq.logging import metrics

from fairseq_ami.criterions.sums import total_sums
from fairseq_ami.criterions.vae_report import log_active_units
from fairseq_ami.types import Log

# name -> (numerator, denominator), in nats
RATIOS = {
    "reconstruction": ("reconstruction", "nsentences"),
    "kl_sentence": ("kl_sentence", "nsentences"),
    "kl_conversation": ("kl_conversation", "dialogues"),
    "bow": ("bow", "nsentences"),
    "iw_nll": ("iw_nll", "nsentences"),
    "kl_weight": ("kl_weight", "nsentences"),
}


def log_dialog_metrics(logs: List[Log]) -> None:
    """Log the loss in bits per token or per reply, -ELBO at beta = 1 in nats per reply, and whatever else is there."""
    total = total_sums(logs)
    replies, tokens, size = (total.get(name, 0.0) for name in ("nsentences", "ntokens", "sample_size"))
    if replies == 0:
        return
    metrics.log_scalar("loss", total["loss"] / size / math.log(2), size, round=3)
    nll = total["reconstruction"] + total.get("kl_sentence", 0.0) + total.get("kl_conversation", 0.0)
    metrics.log_scalar("nll", nll / replies, replies, round=3)
    metrics.log_scalar("nll_loss", nll / tokens / math.log(2), tokens, round=3)
    metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
    for name, (numerator, denominator) in RATIOS.items():
        if numerator in total and total[denominator] > 0:
            metrics.log_scalar(name, total[numerator] / total[denominator], total[denominator], round=4)
    log_active_units(logs, replies)
