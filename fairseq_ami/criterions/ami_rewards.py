"""What the forward network and the noise are rewarded for: a weighted sum of rewards by name."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.ami_infomax import sentence_information
from fairseq_ami.criterions.ami_multiplier import Multiplier
from fairseq_ami.criterions.ami_turn import Turn
from fairseq_ami.generation.rollout import Rollout, backward_log_likelihood
from fairseq_ami.modules import dropout_off
from fairseq_ami.objectives import within_source
from fairseq_ami.rewards import NETWORK_REWARDS, Sampled, TextReader, text_reward
from fairseq_ami.types import Log, PairTask


class Rewards:
    """The weighted sum of named rewards, each logged by its own name.

    Args:
        weights: reward -> weight, of :func:`fairseq_ami.rewards.parse_rewards`.
        cfg: of the criterion.
        task: gives the dictionaries.
        multiplier: K(T'), which multiplies ``log-q`` and no other reward.
        pad: the padding symbol.
        not_words: symbols that are no words.

    Raises:
        AMIError: a function of a user's own that cannot be found.
    """

    def __init__(
        self,
        weights: Dict[str, float],
        cfg: AMIMinimaxConfig,
        task: PairTask,
        multiplier: Multiplier,
        pad: int,
        not_words: Sequence[int],
    ):
        self.weights, self.multiplier, self.pad, self.not_words = weights, multiplier, pad, not_words
        self.reader = TextReader(task.source_dictionary, task.target_dictionary, cfg.reward_post_process)
        self.of_text = {name: text_reward(name) for name in weights if name not in NETWORK_REWARDS}
        self.labels = _labels(list(weights))
        self.per_sentence = str(cfg.reward_per) == "sentence"  # equation 12 has the whole sentence
        self._of_networks: Dict[str, Callable[[Turn, Rollout, bool], Tensor]] = {
            "log-q": self._log_q,
            "infomax": self._infomax,
            "constant": lambda turn, rollout, use_multiplier: torch.ones(self._shape(turn, rollout)),
        }

    @property
    def need_backward(self) -> bool:
        """Whether the backward network has a say."""
        return bool({"log-q", "infomax"} & set(self.weights))

    @torch.no_grad()
    def __call__(self, turn: Turn, rollout: Rollout, use_multiplier: bool) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Score the samples.

        Returns:
            The reward of each sample, shape (batch, k), and the rewards by name before they are weighed.

        Raises:
            AMIError: a function of a user's own fails, or gives something else than one finite number per sample.
        """
        sampled: Optional[Sampled] = None
        if self.of_text:
            source, target = turn.batch["net_input"]["src_tokens"], turn.batch["target"]
            sampled = self.reader.read(source, rollout.samples.tokens, target)
        parts: Dict[str, Tensor] = {}
        total = torch.zeros(self._shape(turn, rollout), device=rollout.samples.tokens.device)
        for name, weight in self.weights.items():
            if name in self.of_text:
                values = torch.tensor(self.of_text[name](sampled), device=total.device).view_as(total)
            else:
                values = self._of_networks[name](turn, rollout, use_multiplier).to(total.device)
            self._log(turn.log, self.labels[name], values)
            total, parts[name] = total + weight * values, values
        return total, parts

    def shown(self, turn: Turn, rollout: Rollout, values: Dict[str, Tensor], count: int) -> List[Dict[str, Any]]:
        """The first *count* sources as text, each with its reference and its samples.

        Args:
            values: what is told about each sample, shape (batch, k) each.
        """
        batch, (rows, k) = turn.batch, self._shape(turn, rollout)
        rows = min(rows, count)
        target = None if batch["target"] is None else batch["target"][:rows]
        read = self.reader.read(batch["net_input"]["src_tokens"][:rows], rollout.samples.tokens[: rows * k], target)
        told = {name: numbers[:rows].flatten().tolist() for name, numbers in values.items()}
        samples = [
            {"text": text, **{name: numbers[i] for name, numbers in told.items()}}
            for i, text in enumerate(read.outputs)
        ]
        return [
            {
                "id": int(batch["id"][row]),
                "source": read.sources[row * k],
                "reference": None if read.references is None else read.references[row * k],
                "samples": samples[row * k : (row + 1) * k],
            }
            for row in range(rows)
        ]

    @staticmethod
    def _shape(turn: Turn, rollout: Rollout) -> Tuple[int, int]:
        return turn.size, rollout.samples.tokens.size(0) // turn.size

    def _log_q(self, turn: Turn, rollout: Rollout, use_multiplier: bool) -> Tensor:
        """log Q(S|T') per token or per sentence, times K(T') where the phase uses it."""
        with dropout_off(turn.model.backward_model):
            log_q = backward_log_likelihood(turn.model, rollout.samples.tokens, turn.reverse, self.pad)
        log_q = log_q.view(turn.size, -1, log_q.size(1)).sum(2)
        values = log_q if self.per_sentence else log_q / self._source_lengths(turn)
        turn.log.update(log_q_sum=log_q.sum())
        if turn.batch["target"] is None:  # K compares with a reference
            return values
        multiplier = self.multiplier(turn.model, turn.batch, rollout).view_as(values)
        turn.log.update(multiplier_sum=multiplier.sum())
        return multiplier * values if use_multiplier else values

    def _infomax(self, turn: Turn, rollout: Rollout, use_multiplier: bool) -> Tensor:
        """InfoMax-GAN's bound of T', nats per word of each sample. Samples of one source are alike: only those of
        different sources are contrasted."""
        tokens, (_, k) = rollout.samples.tokens, self._shape(turn, rollout)
        with dropout_off(turn.model.backward_model):
            found = [sentence_information(turn.model, tokens[j::k], self.pad, self.not_words) for j in range(k)]
        sums, words = (torch.stack(parts, 1) for parts in zip(*found))
        turn.log.update(infomax_fake_sum=sums.sum(), infomax_fake_words=words.sum())
        values = sums / words.clamp(min=1)
        # beside a reward of the whole sentence it keeps its weight
        return self._source_lengths(turn) * values if self.per_sentence else values

    def _source_lengths(self, turn: Turn) -> Tensor:
        """Tokens of each S, shape (batch, 1)."""
        return turn.reverse["target"].ne(self.pad).sum(1, keepdim=True)

    @staticmethod
    def _log(log: Log, label: str, values: Tensor) -> None:
        """Sums for the mean, and the standard deviation between and within sources."""
        exact = values.double()
        log[f"{label}_count"] = values.numel()
        log[f"{label}_sum"] = exact.sum()
        log[f"{label}_square"] = exact.pow(2).sum()
        log[f"{label}_within"] = within_source(exact).pow(2).sum()


def _labels(names: Sequence[str]) -> Dict[str, str]:
    """Reward -> its name in the logs: of one's own functions the function's name, where that is clear."""
    short = {name: name.rpartition(":")[2] for name in names}
    counts = list(short.values())
    return {name: f"reward_{label if counts.count(label) == 1 else name}" for name, label in short.items()}
