"""Sums from the criterion -> ratios in fairseq's logs."""

import math
from typing import Any, Dict, List, Optional, Tuple

from fairseq import utils
from fairseq.logging import metrics

from fairseq_ami.criterions.sums import total_sums
from fairseq_ami.types import UNLABELLED

# name -> (numerator, denominator): averages over everything logged in the interval; nats unless said
RATIOS: Dict[str, Tuple[str, str]] = {
    "forward_nll": ("forward_nll", "forward_nll_tokens"),
    "backward_nll_real": ("backward_nll_real", "backward_nll_real_tokens"),
    "backward_nll_fake": ("backward_nll_fake", "backward_nll_fake_tokens"),
    "multiplier": ("multiplier_sum", "reward_count"),
    "vim_bound": ("log_q_sum", "reward_count"),
    "vim_bound_token": ("log_q_sum", "log_q_tokens"),
    "vim_bound_common": ("log_q_common_sum", "reward_count"),
    "vim_bound_token_common": ("log_q_common_sum", "log_q_tokens"),
    "infomax_real": ("infomax_real_sum", "infomax_real_words"),
    "infomax_fake": ("infomax_fake_sum", "infomax_fake_words"),
    "entropy": ("entropy_sum", "entropy_count"),
    "length_ratio": ("sample_tokens", "sample_reference_tokens"),
    "cut_samples": ("sample_cut", "sample_rows"),
    "noise_norm": ("noise_norm_sum", "sample_rows"),
    "anchor_divergence": ("anchor_divergence", "reward_count"),  # log P - log P0 per symbol of T'
}

# the same of the rewards, which are K log Q in forward updates and log Q in noise updates: named by phase
REWARDED = ("forward", "noise")
WITHIN = "_within"  # ends the key of a reward's sum of squares within sources
REWARD_RATIOS = {"reward": ("reward_sum", "reward_count"), "baseline": ("baseline_sum", "reward_count")}


def log_metrics(logs: List[Dict[str, Any]]) -> None:
    """Log the loss in bits (fairseq's custom), and every ratio whose sums are there."""
    total = total_sums(logs)
    size = total.get("sample_size", 0.0)
    if size > 0:
        metrics.log_scalar("loss", total.get("loss", 0.0) / size / math.log(2), size, round=3)
    if "valid_nll" in total:
        tokens = total.get("ntokens", 0.0)
        if tokens > 0:
            metrics.log_scalar("nll_loss", total["valid_nll"] / tokens / math.log(2), tokens, round=3)
            metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
    _log_ratios({name: value for name, value in total.items() if not name.startswith(UNLABELLED)})
    unlabelled = {name[len(UNLABELLED) :]: value for name, value in total.items() if name.startswith(UNLABELLED)}
    _log_ratios(unlabelled, UNLABELLED)
    if {"backward_nll_fake", "backward_nll_real"} <= total.keys() and "log_q_tokens" in total:
        metrics.log_derived(
            "nll_gap", lambda meters: round(meters["backward_nll_fake"].avg - meters["backward_nll_real"].avg, 4)
        )


def _log_ratios(total: Dict[str, float], prefix: str = "") -> None:
    """Log every ratio whose sums are in *total*, its name after *prefix*."""
    phase = next((name for name in REWARDED if f"rewards_of_{name}" in total), None)
    ratios = {**RATIOS, **{f"{name}_{phase}": parts for name, parts in REWARD_RATIOS.items() if phase}}
    for name, (numerator, denominator) in ratios.items():
        count = total.get(denominator, 0.0)
        if numerator in total and count > 0:
            metrics.log_scalar(prefix + name, total[numerator] / count, count, round=4)
    count = total.get("reward_count", 0.0)
    for name in ("reward", "advantage"):
        if f"{name}_square" in total and count > 0:
            mean = total[f"{name}_sum"] / count
            variance = max(total[f"{name}_square"] / count - mean**2, 0.0)
            metrics.log_scalar(f"{prefix}{name}_std_{phase}", math.sqrt(variance), count, round=4)
    _log_named_rewards(total, phase, prefix)


def _log_named_rewards(total: Dict[str, float], phase: Optional[str], prefix: str) -> None:
    """Of each reward its mean, and its standard deviation between the means of sources and within sources."""
    for label in [key[: -len(WITHIN)] for key in total if key.endswith(WITHIN)]:
        count = total[f"{label}_count"]
        if count > 0:
            mean, within = total[f"{label}_sum"] / count, total[f"{label}{WITHIN}"] / count
            between = max(total[f"{label}_square"] / count - mean**2 - within, 0.0)
            metrics.log_scalar(f"{prefix}{label}_{phase}", mean, count, round=4)
            metrics.log_scalar(f"{prefix}{label}_between_{phase}", math.sqrt(between), count, round=4)
            metrics.log_scalar(f"{prefix}{label}_within_{phase}", math.sqrt(within), count, round=4)
