"""Sums from ``dialog_gan`` -> ratios in fairseq's logs."""

import math
from typing import List

from fairseq import utils
from fairseq.logging import metrics

from fairseq_ami.criterions.sums import total_sums
from fairseq_ami.types import Log

# name -> (numerator, denominator)
RATIOS = {
    "discriminator_loss": ("discriminator_loss", "judged"),
    "human_accuracy": ("human_right", "judged"),
    "machine_accuracy": ("machine_right", "judged"),
    "reward": ("reward_sum", "reward_count"),
    "baseline": ("baseline_sum", "reward_count"),
    "baseline_error": ("baseline_square", "reward_count"),
    "teacher_nll": ("teacher_nll", "teacher_tokens"),
    "entropy": ("entropy_sum", "entropy_count"),
    "length_ratio": ("sample_tokens", "sample_reference_tokens"),
    "cut_samples": ("sample_cut", "sample_rows"),
    "completions": ("completions", "sample_rows"),
}


def log_gan_metrics(logs: List[Log]) -> None:
    """Log the loss of the phase (of validation in bits, fairseq's custom), and every ratio whose sums are there."""
    total = total_sums(logs)
    size, tokens = total.get("sample_size", 0.0), total.get("ntokens", 0.0)
    if size > 0:
        metrics.log_scalar("loss", total["loss"] / size / math.log(2), size, round=3)
    if "valid_nll" in total and tokens > 0:
        metrics.log_scalar("nll_loss", total["valid_nll"] / tokens / math.log(2), tokens, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
    for name, (numerator, denominator) in RATIOS.items():
        if numerator in total and total.get(denominator, 0.0) > 0:
            metrics.log_scalar(name, total[numerator] / total[denominator], total[denominator], round=4)
    count = total.get("reward_count", 0.0)
    for name in ("reward", "advantage"):
        if f"{name}_square" in total and count > 0:
            variance = total[f"{name}_square"] / count - (total[f"{name}_sum"] / count) ** 2
            metrics.log_scalar(f"{name}_std", math.sqrt(max(variance, 0.0)), count, round=4)
