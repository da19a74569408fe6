"""``dialog_elbo``: the ELBO of dialogue models with latent variables (Serban et al. 2017; Park et al. 2018)."""

from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from fairseq_ami.criterions.dialog_config import DialogELBOConfig
from fairseq_ami.criterions.dialog_report import log_dialog_metrics
from fairseq_ami.errors import AMIError
from fairseq_ami.metrics.latent import log_mean_exp
from fairseq_ami.models.hred import HRED, Keys
from fairseq_ami.modules import unwrapped
from fairseq_ami.random_streams import VALIDATION_UPDATE, Stream, stream_keys
from fairseq_ami.schedules import Annealing
from fairseq_ami.types import Log

SUMMED = ("reconstruction", "kl_sentence", "kl_conversation", "bow")


@register_criterion("dialog_elbo", dataclass=DialogELBOConfig)
class DialogELBO(FairseqCriterion):
    """Minimises, summed over the replies of a batch,

    ``-log p(reply | history, z) + beta [KL of z of the reply + KL of z of the conversation] [+ bag of words]``

    with one sample of each z from its posterior. A conversation's KL counts once, however many replies it has.
    An ``hred`` has no z, and trains by its likelihood.

    beta follows from the update number, so a resumed run goes on with the same weight. Validation takes beta = 1,
    whatever the weights of training are, and no bag of words.
    """

    def __init__(self, cfg: DialogELBOConfig, task: FairseqTask):
        super().__init__(task)
        self.cfg = cfg
        for name in ("kl_weight", "bow_weight", "iw_samples"):
            if getattr(cfg, name) < 0:
                raise AMIError(f"--{name.replace('_', '-')} must not be negative")
        if str(cfg.kl_anneal) != "constant" and cfg.kl_anneal_updates < 1:
            raise AMIError(f"--kl-anneal {cfg.kl_anneal} needs a length: pass --kl-anneal-updates")
        inverse = str(cfg.kl_weight_mode) == "inverse-reconstruction"
        if inverse and (str(cfg.kl_anneal) != "constant" or cfg.kl_weight != 1):
            raise AMIError(
                "--kl-weight-mode inverse-reconstruction sets the weight: leave --kl-anneal, --kl-weight out"
            )
        if cfg.kl_weight_detach and not inverse:
            raise AMIError("--kl-weight-detach is for --kl-weight-mode inverse-reconstruction")
        self.annealing = Annealing(
            str(cfg.kl_anneal), cfg.kl_start, cfg.kl_weight, cfg.kl_anneal_updates, cfg.kl_cycles, cfg.kl_cycle_ratio
        )

    def forward(self, model: HRED, sample: Mapping[str, Any], reduce: bool = True) -> Tuple[Tensor, int, Log]:
        """The loss, or in validation -ELBO at beta = 1.

        Returns:
            loss (summed), target tokens (with ``--sentence-avg`` replies), and sums to log.

        Raises:
            AMIError: a model that has no such terms, or no bag-of-words network.
        """
        self._check(model)
        training, target = model.training, sample["target"]
        update = model.num_updates if training else VALIDATION_UPDATE
        terms = self._terms(model, sample, self._keys(sample, update))
        size = len(target) if self.cfg.sentence_avg else sample["ntokens"]
        total: Dict[str, Tensor] = {name: terms[name].sum() for name in SUMMED if name in terms}
        divergence = total["reconstruction"].new_zeros(())
        for name in ("kl_sentence", "kl_conversation"):
            divergence = divergence + total.get(name, 0.0)
        log: Log = {name: value.detach() for name, value in total.items()}
        log.update(ntokens=sample["ntokens"], nsentences=len(target), dialogues=len(sample["id"]), sample_size=size)
        if training:
            loss = self._loss(total, divergence, update, log)
        else:
            loss = total["reconstruction"] + divergence
            self._measure(model, sample, terms, log)
        log["loss"] = loss.detach()
        return loss, size, log

    def _loss(self, total: Dict[str, Tensor], divergence: Tensor, update: int, log: Log) -> Tensor:
        reconstruction = total["reconstruction"]
        if str(self.cfg.kl_weight_mode) == "elbo":
            weight: Union[float, Tensor] = self.annealing.weight(update)
        else:
            weight = 1.0 / (reconstruction.detach() if self.cfg.kl_weight_detach else reconstruction)
        log["kl_weight"] = (weight.detach() if isinstance(weight, Tensor) else weight) * log["nsentences"]
        loss = reconstruction + weight * divergence
        return loss + self.cfg.bow_weight * total["bow"] if self.cfg.bow_weight else loss

    def _check(self, model: nn.Module) -> None:
        inner = unwrapped(model, HRED)
        if not isinstance(inner, HRED):
            raise AMIError("--criterion dialog_elbo trains --arch hred, vhred, dir_vhred and vhcr")
        if self.cfg.bow_weight and inner.bow is None:
            raise AMIError("--bow-weight needs a bag-of-words network: pass --bow-hidden 1000 (an hred has none)")

    # ------------------------------------------------------------------ random numbers

    @staticmethod
    def _terms(model: HRED, sample: Mapping[str, Any], keys: Keys) -> Dict[str, Tensor]:
        # a call of the model, not of a method: the gradients of several workers are exchanged by it
        return model(**sample["net_input"], target=sample["target"], keys=keys)

    def _keys(self, sample: Mapping[str, Any], update: int, draw: Optional[int] = None) -> Keys:
        """Keys of a batch; with *draw* those of a sample of the importance-weighted bound."""
        own, conversation = Stream.DIALOG_SENTENCE, Stream.DIALOG_CONVERSATION
        if draw is not None:
            own, conversation = Stream.DIALOG_IMPORTANCE, Stream.DIALOG_IMPORTANCE_CONVERSATION
        place = draw or 0

        def keys(stream: int, ids: Tensor) -> Tensor:
            return stream_keys(self.cfg.seed, update, stream, ids, place + 1).view(len(ids), -1)[:, place]

        replies = sample.get("reply_id", sample["id"])
        return Keys(
            sentence=keys(own, replies),
            words=keys(Stream.DIALOG_WORDS, replies),
            conversation=keys(conversation, sample["id"]),
            utterances=keys(Stream.DIALOG_UTTERANCES, sample["id"]),
        )

    # ------------------------------------------------------------------ validation

    def _measure(self, model: HRED, sample: Mapping[str, Any], terms: Dict[str, Tensor], log: Log) -> None:
        """Moments for the active units, and the importance-weighted bound."""
        if "mean" in terms:
            means = terms["mean"].double()
            log.update(mean_sum=means.sum(0), mean_square=means.pow(2).sum(0))
        if self.cfg.iw_samples:
            chunks = (self._log_weights(model, sample, draw) for draw in range(self.cfg.iw_samples))
            log["iw_nll"] = -log_mean_exp(chunks).sum()

    def _log_weights(self, model: HRED, sample: Mapping[str, Any], draw: int) -> Tensor:
        """log p(replies, z) - log q(z) of each conversation, all its replies together, shape (conversations, 1)."""
        terms = self._terms(model, sample, self._keys(sample, VALIDATION_UPDATE, draw))
        each = terms.get("weight_sentence", 0.0) - terms["reconstruction"].double()
        owner = sample["net_input"].get("owner", torch.arange(len(each), device=each.device))
        total = each.new_zeros(len(sample["id"])).index_add(0, owner, each)
        return (total + terms.get("weight_conversation", 0.0)).unsqueeze(1)

    # ------------------------------------------------------------------ logs

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Log]) -> None:
        """Turn the workers' sums into the logged ratios."""
        log_dialog_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True
