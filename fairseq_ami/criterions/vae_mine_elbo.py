"""``vae_mine_elbo``: the ELBO and all that keeps z from collapsing (VAE-MINE equations 3, 10, 12 to 14)."""

import logging
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from torch import Tensor

from fairseq_ami.criterions.vae_config import VAEMineConfig, check_config
from fairseq_ami.criterions.vae_importance import importance_weighted
from fairseq_ami.criterions.vae_report import log_vae_metrics
from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.latent import aggregate
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.modules import DiagonalGaussian
from fairseq_ami.objectives.divergences import free_bits_kl, maximum_mean_discrepancy
from fairseq_ami.objectives.estimators import ESTIMATORS
from fairseq_ami.objectives.importance import with_scaled_gradient
from fairseq_ami.objectives.mutual_information import (
    donsker_varadhan,
    log_mean_exp_negatives,
    tangent_bound,
)
from fairseq_ami.random_streams import VALIDATION_UPDATE, Stream, normal, stream_keys
from fairseq_ami.types import Batch, Log, SentenceTask

logger = logging.getLogger(__name__)

STREAMS = (Stream.VAE_PRIOR, Stream.VAE_WORDS, Stream.VAE_ENCODER_WORDS)


@dataclass(frozen=True)
class VAEStep:
    """What the criterion is told about the update.

    Attributes:
        update: number of the update.
        kl_weight: weight of the KL term, annealed.
        mean_exp: running mean of E[e^f] over earlier updates; None before the first.
        samples: of z per sentence; more than one train the importance-weighted bound.
        mi_weight: weight of the mutual information that --mi-target has found; None: --mi-weight.
    """

    update: int
    kl_weight: float
    mean_exp: Optional[float] = None
    samples: int = 1
    mi_weight: Optional[float] = None


@register_criterion("vae_mine_elbo", dataclass=VAEMineConfig)
class VAEMineELBO(FairseqCriterion):
    """Minimises, summed over the sentences,

    ``-log p(x|z) + beta KL(q(z|x) || p(z)) - alpha I(x; z) [+ bag of words] [+ MMD]``

    with z ~ q(z|x), one sample per sentence. With --iw-train K the bound log (1/K) sum_k w_k takes the place of the
    first two terms (``fairseq_ami.criterions.vae_importance``); the others read the first sample.

    The terms of alpha, of MMD and of free bits per batch couple the sentences of a batch. Unlike the others
    they are not the same for another layout of batches.
    """

    def __init__(self, cfg: VAEMineConfig, task: SentenceTask):
        super().__init__(task)
        self.cfg = cfg
        self.pad = task.dictionary.pad()
        self._told = False
        check_config(cfg)

    def check_model(self, model: TextVAE) -> None:
        """Refuse settings that *model* has no part for.

        Raises:
            AMIError: with what to pass.
        """
        cfg = self.cfg
        if self.weighs_information and model.critic is None:
            flag = "--mi-weight" if cfg.mi_target is None else "--mi-target"
            raise AMIError(f"{flag} needs an energy function: pass --critic concat")
        if cfg.bow_weight and model.bow is None:
            raise AMIError("--bow-weight needs a bag-of-words network: pass --bow-hidden 512")
        if model.latent_dim == 0 and (cfg.mmd_weight or cfg.free_bits or cfg.lagging or cfg.iw_train > 1):
            raise AMIError(
                "--mmd-weight, --free-bits, --lagging and --iw-train need a latent variable: a language model has none"
            )

    @property
    def weighs_information(self) -> bool:
        """Whether there is a term of the mutual information, whatever its weight is at the moment."""
        return self.cfg.mi_weight > 0 or self.cfg.mi_target is not None

    def forward(self, model: TextVAE, sample: Batch, step: Optional[VAEStep] = None) -> Tuple[Tensor, int, Log]:
        """The loss, or without *step* validation: -ELBO at beta = 1.

        Returns:
            loss (summed), sentences, and sums to log.
        """
        tokens, size = sample["target"], len(sample["id"])
        log: Log = {"ntokens": sample["ntokens"], "nsentences": size}
        update = VALIDATION_UPDATE if step is None else step.update
        keys = {stream: stream_keys(self.cfg.seed, update, stream, sample["id"], 1) for stream in STREAMS}
        hide = model.hidden_words(tokens, keys[Stream.VAE_WORDS])
        if model.latent_dim == 0:
            loss = reconstruction = -model.log_likelihood(tokens, hide=hide).sum()
            kl = reconstruction.new_zeros(())
        else:
            posterior, features = model.posterior(
                tokens, model.hidden_from_encoder(tokens, keys[Stream.VAE_ENCODER_WORDS])
            )
            noise = self._samples(sample["id"], update, step, model.latent_dim)
            z, kl = posterior.sample(noise[:, 0]), posterior.kl().sum()
            if step is not None and step.samples > 1:
                loss, reconstruction = self._importance_weighted(model, tokens, posterior, noise, hide, step, log)
            else:
                reconstruction = -model.log_likelihood(tokens, z, hide).sum()
                loss = reconstruction + (kl if step is None else step.kl_weight * self._kl_term(posterior, size))
            if step is None:
                self._measure(model, posterior, features, z, log)
                self._measure_bound(model, tokens, posterior, noise, log)
            else:
                loss = loss + self._regularisers(model, tokens, features, z, keys[Stream.VAE_PRIOR], step, log)
                self._measure_information(posterior, z, log)
        log.update(reconstruction=reconstruction.detach(), kl=kl.detach(), loss=loss.detach(), sample_size=size)
        return loss, size, log

    def _samples(self, ids: Tensor, update: int, step: Optional[VAEStep], channels: int) -> Tensor:
        """Noise of z, shape (batch, samples, channels). The first sample is the same however many there are."""
        samples = self.cfg.iw_train if step is None else step.samples
        keys = stream_keys(self.cfg.seed, update, Stream.VAE_POSTERIOR, ids, samples)
        return self._noise(keys, channels).view(len(ids), samples, channels)

    # ------------------------------------------------------------------ terms

    def _kl_term(self, posterior: DiagonalGaussian, size: int) -> Tensor:
        if self.cfg.free_bits > 0:
            return size * free_bits_kl(posterior.kl_by_dimension(), self.cfg.free_bits, str(self.cfg.free_bits_per))
        return posterior.kl().sum()

    def _importance_weighted(
        self,
        model: TextVAE,
        tokens: Tensor,
        posterior: DiagonalGaussian,
        noise: Tensor,
        hide: Optional[Tensor],
        step: VAEStep,
        log: Log,
    ) -> Tuple[Tensor, Tensor]:
        """What takes the place of -ELBO, and the samples' mean reconstruction; both summed over the sentences.

        Free bits add what they add to the ELBO: beta times what the KL lacks of its threshold.
        """
        found = importance_weighted(model, tokens, posterior, noise, hide, step.kl_weight, str(self.cfg.iw_gradient))
        log["iw_nll"] = -found.bound.sum()
        loss = -found.objective.sum()
        if self.cfg.free_bits > 0:
            loss = loss + step.kl_weight * (self._kl_term(posterior, len(tokens)) - posterior.kl().sum())
        return loss, -found.log_likelihood.sum()

    def _regularisers(
        self, model: TextVAE, tokens: Tensor, features: Tensor, z: Tensor, prior_keys: Tensor, step: VAEStep, log: Log
    ) -> Tensor:
        total = z.new_zeros(())
        if self.cfg.bow_weight:
            bow = -model.bow_log_likelihood(tokens, z).sum()
            log["bow"] = bow.detach()
            total = total + self.cfg.bow_weight * bow
        if self.cfg.mmd_weight:
            mmd = maximum_mean_discrepancy(z, self._noise(prior_keys, model.latent_dim))
            log["mmd"] = len(z) * mmd.detach()
            total = total + self.cfg.mmd_weight * len(z) * mmd
        if self.weighs_information:
            total = total - len(z) * self._weighted_bound(model, features, z, step, log)
        return total

    def _weighted_bound(self, model: TextVAE, features: Tensor, z: Tensor, step: VAEStep, log: Log) -> Tensor:
        """alpha times the bound. Under --mi-target the energy function learns with weight 1 whatever alpha is.

        Else an alpha that has fallen to 0 would leave it behind, and what it measures would mean nothing.
        """
        if step.mi_weight is None:
            return self.cfg.mi_weight * self._bound(model, features, z, step, log)
        alpha = torch.as_tensor(step.mi_weight, dtype=z.dtype, device=z.device)
        if model.critic_words is None:  # else the features are the energy function's own
            features = with_scaled_gradient(features, lambda: alpha.to(features.dtype))
        bound = self._bound(model, features, with_scaled_gradient(z, lambda: alpha), step, log)
        return bound + (alpha - 1.0) * bound.detach()

    def _bound(self, model: TextVAE, features: Tensor, z: Tensor, step: VAEStep, log: Log) -> Tensor:
        """E_joint f - xi E_marginal e^f + log xi + 1 (equation 12), at most I(x; z) if xi > 0; or another estimate."""
        if len(z) < 2:
            self._tell_once()
            nothing = z.new_zeros(())  # all workers of a step log the same keys
            log.update(bound=nothing, bound_sentences=0)
            if self._keeps_mean_exp:
                log.update(mean_exp=nothing.double())
            return nothing
        scores, estimator = self._scores(model, features, z), str(self.cfg.mi_estimator)
        if estimator == "tangent":
            log_mean = log_mean_exp_negatives(scores.detach(), self._negatives)
            bound = tangent_bound(scores, self._log_xi(log_mean, step), self._negatives)
            if self._keeps_mean_exp:
                log.update(mean_exp=len(z) * log_mean.double().exp())
        else:
            bound = ESTIMATORS[estimator].objective(scores, self._negatives)
        log.update(bound=len(z) * bound.detach(), bound_sentences=len(z))
        return bound

    @property
    def _keeps_mean_exp(self) -> bool:
        return str(self.cfg.mi_estimator) == "tangent" and str(self.cfg.xi) == "ema"

    def _log_xi(self, log_mean: Tensor, step: VAEStep) -> Tensor:
        """Logarithm of xi; -xi E[e^f] + log xi is largest at xi = 1 / E[e^f], not at E[e^f] (equation 13)."""
        mode = str(self.cfg.xi)
        if mode == "fixed":
            return torch.full_like(log_mean, math.log(self.cfg.xi_value))
        if mode == "paper":
            return log_mean
        if mode == "ema" and step.mean_exp:  # none before the first update, 0 where all of e^f underflows
            return torch.full_like(log_mean, -math.log(step.mean_exp))
        return -log_mean

    def _scores(self, model: TextVAE, features: Tensor, z: Tensor) -> Tensor:
        dtype = next(model.critic.parameters()).dtype
        return model.critic(features.to(dtype), z.to(dtype))

    @property
    def _negatives(self) -> str:
        return str(self.cfg.negatives)

    def _tell_once(self) -> None:
        if not self._told:
            self._told = True
            logger.warning("a batch of one sentence has no independent pair: it trains without the term of --mi-weight")

    @staticmethod
    def _noise(keys: Tensor, channels: int) -> Tensor:
        return normal(keys, 1, channels).squeeze(1)

    def _measure_information(self, posterior: DiagonalGaussian, z: Tensor, log: Log) -> None:
        """I(x; z) of a training batch by its aggregated posterior, where --mi-target asks for it."""
        if self.cfg.mi_target is None or str(self.cfg.mi_target_of) != "information":
            return
        measured = len(z) if len(z) > 1 else 0
        information = aggregate(posterior, z).paired_information if measured else 0.0
        log.update(information=measured * information, information_sentences=measured)

    # ------------------------------------------------------------------ validation

    def _measure_bound(
        self, model: TextVAE, tokens: Tensor, posterior: DiagonalGaussian, noise: Tensor, log: Log
    ) -> None:
        """The importance-weighted bound of as many samples as training has."""
        if self.cfg.iw_train > 1:
            log["iw_nll"] = -importance_weighted(model, tokens, posterior, noise).bound.sum()

    def _measure(self, model: TextVAE, posterior: DiagonalGaussian, features: Tensor, z: Tensor, log: Log) -> None:
        """Mutual information and bound over batches of --mi-batch sentences, and moments for the active units."""
        means = posterior.mean.double()
        log.update(mean_sum=means.sum(0), mean_square=means.pow(2).sum(0))
        log.update(information=0.0, information_sentences=0)
        if model.critic is not None:
            log.update(bound=0.0, bound_sentences=0)
        for rows in torch.arange(len(z), device=z.device).split(self.cfg.mi_batch):
            if len(rows) < 2:
                continue
            part = DiagonalGaussian(posterior.mean[rows], posterior.log_variance[rows])
            log["information"] += len(rows) * aggregate(part, z[rows]).paired_information
            log["information_sentences"] += len(rows)
            if model.critic is not None:
                bound = donsker_varadhan(self._scores(model, features[rows], z[rows]), self._negatives)
                log["bound"] += len(rows) * float(bound)
                log["bound_sentences"] += len(rows)

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Turn the workers' sums into the logged ratios."""
        log_vae_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
