"""Validation of both networks: likelihoods on real pairs, and the VIM bound on sampled ones."""

from dataclasses import replace
from typing import Callable, List, Optional, Tuple

from torch import Tensor

from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import (
    Rollout,
    SamplerSettings,
    backward_log_likelihood,
    roll_out,
    sample_sums,
)
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.modules import weights_replaced
from fairseq_ami.random_streams import VALIDATION_UPDATE
from fairseq_ami.types import Batch, Log


def evaluate_pair(
    model: PairedModel,
    sample: Batch,
    reverse: Batch,
    sampling: Optional[SamplerSettings],
    multiplier: Callable[[PairedModel, Batch, Rollout], Tensor],
    common: Optional[List[Tensor]],
    log: Log,
) -> Tuple[Tensor, int]:
    """NLL of real pairs under both networks; E[log Q(S|T')] (equation 3) under the own and the common Q.

    T' is drawn from P(.|S) without latent noise, one sample per source.

    Args:
        model: the pair, in eval mode. Without a backward network there is the forward one's likelihood only.
        sample, reverse: the batch in both directions.
        sampling: None leaves the bound out.
        multiplier: K(T') of a rollout.
        common: the weights of the frozen common Q that training moves; empty while it is still the model's own; None
            where nobody kept one (``fairseq-validate``), which leaves its bound out.
        log: receives the sums.

    Returns:
        Negative log-likelihood of the forward network, summed, and the number of target tokens.
    """
    nll = -model.log_likelihood(model.forward_model, sample["net_input"], sample["target"]).sum()
    log["valid_nll"] = nll
    if model.backward_model is None:
        return nll, sample["ntokens"]
    real = model.log_likelihood(model.backward_model, reverse["net_input"], reverse["target"])
    log["backward_nll_real"] = -real.sum()
    log["backward_nll_real_tokens"] = reverse["ntokens"]
    if sampling is not None:
        _bound(model, sample, reverse, sampling, multiplier, common, log)
    return nll, sample["ntokens"]


def _bound(
    model: PairedModel,
    sample: Batch,
    reverse: Batch,
    sampling: SamplerSettings,
    multiplier: Callable[[PairedModel, Batch, Rollout], Tensor],
    common: Optional[List[Tensor]],
    log: Log,
) -> None:
    # the bound is of P itself, whatever temperature or truncation the training samples are drawn with
    one = replace(sampling, policy=Policy(sampling.policy.banned), kind="ancestral", num_samples=1)
    rollout = roll_out(model, sample, one, VALIDATION_UPDATE, noise=False, score=True)
    tokens = rollout.samples.tokens
    log_q = backward_log_likelihood(model, tokens, reverse, sampling.pad).sum()
    if common is not None:
        log["log_q_common_sum"] = log_q
    if common:
        with weights_replaced(model.trained_by("backward"), common):
            log["log_q_common_sum"] = backward_log_likelihood(model, tokens, reverse, sampling.pad).sum()
    log.update(
        log_q_sum=log_q,
        log_q_tokens=reverse["ntokens"],
        reward_count=len(sample["id"]),
        multiplier_sum=multiplier(model, sample, rollout).sum(),
        backward_nll_fake=-log_q,
        backward_nll_fake_tokens=reverse["ntokens"],
        **sample_sums(rollout, sample, sampling),
    )
