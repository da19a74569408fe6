"""What the words of sampled replies are rewarded for (Li et al. 2017, sections 3.1 and 3.2)."""

from typing import Tuple

import torch
from torch import Tensor

from fairseq_ami.criterions.dialog_gan_config import DialogGANLossConfig
from fairseq_ami.generation.completions import complete
from fairseq_ami.generation.rollout import Rollout, SamplerSettings
from fairseq_ami.models.dialog_gan import DialogGAN
from fairseq_ami.modules import dropout_off
from fairseq_ami.objectives import leave_one_out
from fairseq_ami.types import Batch, Log


@torch.no_grad()
def step_rewards(
    model: DialogGAN,
    batch: Batch,
    rollout: Rollout,
    cfg: DialogGANLossConfig,
    sampling: SamplerSettings,
    update: int,
    log: Log,
) -> Tensor:
    """The discriminator's probability that a human wrote the reply, for each word of it.

    The last word that the policy chose earns D(history, reply), whatever the kind of rewards: nothing can follow but
    the forced end.

    Args:
        model: of which nothing moves, without dropout.
        batch: histories.
        rollout: k sampled replies of each.
        cfg: says what the other words earn.
        sampling: how the replies were drawn.
        update: number of the update.
        log: receives how many completions were drawn.

    Returns:
        float32, 0 where the policy chose nothing, shape (batch * k, length).
    """
    judge, samples, kind = model.discriminator, rollout.samples, str(cfg.step_rewards)
    actions = samples.actions
    with dropout_off(judge):
        known = judge.read(batch["net_input"]["src_tokens"]).repeat_interleave(sampling.num_samples, 0)
        whole = torch.sigmoid(judge.judge(known, samples.tokens)).unsqueeze(1)
        last = actions.cumsum(1).eq(actions.sum(1, keepdim=True))
        rewards = whole.expand(actions.shape)
        if kind == "prefix":
            rewards = torch.where(last, whole, torch.sigmoid(judge.judge_prefixes(known, samples.tokens)))
        elif kind == "monte-carlo":
            total, drawn = torch.zeros_like(rewards), 0
            for some in complete(model, batch, samples, sampling, cfg.completions, update):
                human = torch.sigmoid(judge.judge(known[some.sample], some.tokens))
                total.index_put_((some.sample, some.kept - 1), human / cfg.completions, accumulate=True)
                drawn += len(human)
            rewards = torch.where(last, whole, total)
            log["completions"] = drawn
    return rewards.masked_fill(~actions, 0.0)


def baselines(model: DialogGAN, batch: Batch, values: Tensor, kind: str, running_mean: float) -> Tuple[Tensor, Tensor]:
    """What is subtracted from the rewards of a reply: it does not depend on that reply.

    Args:
        model: of which ``network`` reads the history as the discriminator does; its gradient stays in ``baseline``.
        batch: histories.
        values: mean reward of each reply's words, shape (batch, k).
        kind: one of the baselines of the criterion.
        running_mean: of the rewards of earlier updates.

    Returns:
        The baselines, without gradient, and the loss of the baseline network per history (0 without one); shapes
        (batch, k) and (batch,).
    """
    nothing = values.new_zeros(len(values))
    if kind == "leave-one-out":
        return values - leave_one_out(values), nothing
    if kind == "network":
        with torch.no_grad(), dropout_off(model.discriminator):
            known = model.discriminator.read(batch["net_input"]["src_tokens"])
        found = model.baseline(known).float()  # (batch, 1)
        return found.detach().expand(values.shape), (found - values).pow(2).mean(1)
    return torch.full_like(values, running_mean if kind == "running-mean" else 0.0), nothing
