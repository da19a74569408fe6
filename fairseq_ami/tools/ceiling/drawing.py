"""Samples of a subset's sources, with their rewards, their texts and the best of beam search."""

from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from fairseq import utils
from fairseq.data import Dictionary, FairseqDataset
from torch import Tensor

from fairseq_ami.criterions.ami_config import AMIMinimaxConfig
from fairseq_ami.criterions.ami_multiplier import make_multiplier
from fairseq_ami.criterions.ami_rewards import Rewards
from fairseq_ami.criterions.ami_turn import Step, Turn
from fairseq_ami.data import reverse_sample
from fairseq_ami.errors import AMIError
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import Rollout, SamplerSettings, roll_out, score_samples
from fairseq_ami.random_streams import VALIDATION_UPDATE
from fairseq_ami.tools.ceiling.expressions import K_LOG_Q, LENGTH, LOG_P, MORE, K
from fairseq_ami.tools.ceiling.networks import Players
from fairseq_ami.tools.reranking.decoder import load_subset
from fairseq_ami.tools.reranking.nbest import to_text
from fairseq_ami.types import Batch, Progress

MAX_LEN_A, MAX_LEN_B = 1.5, 10  # of a sample, as in training


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn and rewarded.

    Attributes:
        samples: samples per source, k.
        temperatures: at each of them.
        topk, topp: of the policy.
        per: ``token`` or ``sentence``: whether log-q and log-p are divided by the tokens of S.
        center_cosine: as in training.
        similarity: of K, as ``--multiplier-similarity`` of training.
        post_process: how subwords are undone.
        max_tokens: tokens per batch, samples counted.
        seed: of the samples, and of the choice of sources.
    """

    samples: int = 16
    temperatures: Tuple[float, ...] = (0.6, 1.0)
    topk: int = 0
    topp: float = 1.0
    per: str = "token"
    center_cosine: bool = False
    similarity: str = "cosine"
    post_process: Optional[str] = "@@ "
    max_tokens: int = 4000
    seed: int = 1


@dataclass(frozen=True)
class Drawn:
    """Samples at one temperature, the sources in the order of the data.

    Attributes:
        texts: k texts per source, without subwords.
        lengths: symbols of each sample, its end symbol counted, shape (sources, k).
        first: index of the first sample of the source that is the same, shape (sources, k).
        rewards: by name, shape (sources, k); the same for samples that are the same.
        pieces: the texts as the networks write them, with subwords.
    """

    texts: List[List[str]]
    lengths: Tensor
    first: Tensor
    rewards: Dict[str, Tensor]
    pieces: List[List[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Told:
    """A subset with its samples.

    Attributes:
        size: sources of the whole subset.
        too_long: how many of them the networks cannot read.
        references: one text per source.
        beam: the best of beam search for each source.
        drawn: by temperature.
        sources: one text per source, with subwords.
    """

    size: int
    too_long: int
    references: List[str]
    beam: List[str]
    drawn: Dict[float, Drawn]
    sources: List[str] = field(default_factory=list)


def chosen_sources(players: Players, subset: str, count: int, at_random: bool, seed: int) -> Tuple[np.ndarray, int]:
    """Which sources of a subset are looked at: the first ones that can be read, or random ones.

    Returns:
        Their indices in rising order, and how many sources are too long.

    Raises:
        AMIError: no such subset, one without references, or nothing but sources that are too long.
    """
    load_subset(players.task, subset)
    dataset = players.task.dataset(subset)
    if dataset[0].get("target") is None:
        raise AMIError(f"the subset {subset} has no references, and the table compares with them: choose another")
    limits = utils.resolve_max_positions(players.task.max_positions(), players.pair.max_positions())
    readable, too_long = dataset.filter_indices_by_size(np.arange(len(dataset)), limits)
    if len(readable) == 0:
        raise AMIError(f"every source of the subset {subset} is longer than the networks can read ({limits})")
    if at_random and count < len(readable):
        readable = np.random.default_rng(seed).choice(readable, count, replace=False)
    return np.sort(readable[:count]), len(too_long)


class Drawer:
    """Draws and rewards samples with one pair of networks.

    Args:
        players: the networks and their task.
        names: rewards to compute, each of one sample.
        how: to draw.

    Raises:
        AMIError: a function of a user's own that cannot be found.
    """

    def __init__(self, players: Players, names: Sequence[str], how: Drawing):
        self.players, self.how, task = players, how, players.task
        target = task.target_dictionary
        self.pad, self.eos = target.pad(), target.eos()
        self.settings = {at: self._settings(at) for at in how.temperatures}
        self.as_it_is = self._settings(1.0, whole=True)
        not_words = (target.pad(), target.eos(), target.bos())
        cfg = AMIMinimaxConfig(
            reward_post_process=how.post_process, reward_per=how.per, center_cosine=how.center_cosine,
            multiplier_similarity=how.similarity,
        )  # fmt: skip
        self.multiplier = make_multiplier(cfg, task, not_words)
        self.names = list(names)
        weights = {"log-q" if name == K_LOG_Q else name: 1.0 for name in names if name == K_LOG_Q or name not in MORE}
        self.rewards = Rewards(weights, cfg, task, self.multiplier, self.pad, not_words)
        self.finish = _finish(players)

    def _settings(self, temperature: float, whole: bool = False) -> SamplerSettings:
        """Of the sampler; *whole*: the distribution of the network, without top-k and top-p."""
        how, target = self.how, self.players.task.target_dictionary
        banned = (target.pad(), target.bos(), *self.players.task.separators)
        policy = Policy(banned, temperature, *((0, 1.0) if whole else (how.topk, how.topp)))
        return SamplerSettings(
            policy, "ancestral", how.samples, MAX_LEN_A, MAX_LEN_B, how.seed, target.pad(), target.eos()
        )

    @torch.no_grad()
    def __call__(self, subset: str, count: int, at_random: bool, progress: Progress) -> Told:
        """Samples of *count* sources of *subset*.

        Raises:
            AMIError: a subset that cannot be used, or a function of a user's own that fails.
        """
        indices, too_long = chosen_sources(self.players, subset, count, at_random, self.how.seed)
        task, dataset = self.players.task, self.players.task.dataset(subset)
        device = next(self.players.pair.parameters()).device
        ids: List[int] = []
        references: List[str] = []
        beam: List[str] = []
        sources: List[str] = []
        parts: Dict[float, List[Drawn]] = {at: [] for at in self.settings}
        for rows in progress(_batches(dataset, indices, self.how.max_tokens // self.how.samples), subset):
            batch = utils.move_to_cuda(dataset.collater([dataset[int(row)] for row in rows]), device)
            ids += batch["id"].tolist()
            sources += [self._pieces(row, task.source_dictionary) for row in batch["net_input"]["src_tokens"]]
            references += [self._text(row, reference=True) for row in batch["target"]]
            beam += self._searched(batch)
            for at, settings in self.settings.items():
                parts[at].append(self._drawn(batch, settings))
        order = np.argsort(ids).tolist()
        drawn = {at: _joined(found, order) for at, found in parts.items()}
        references, beam, sources = ([texts[i] for i in order] for texts in (references, beam, sources))
        return Told(len(dataset), too_long, references, beam, drawn, sources)

    def _searched(self, batch: Batch) -> List[str]:
        found = self.players.task.inference_step(self.players.generator, [self.players.pair], batch)
        return [self._text(hypotheses[0]["tokens"]) for hypotheses in found]

    def _text(self, tokens: Tensor, reference: bool = False) -> str:
        """Without subwords, and detokenised where that was asked for."""
        dictionary = self.players.task.target_dictionary
        return to_text(dictionary, tokens[tokens.ne(self.pad)], self.how.post_process, self.finish, reference)

    def _pieces(self, tokens: Tensor, dictionary: Dictionary) -> str:
        """With subwords, as they stand in binarised data."""
        return to_text(dictionary, tokens[tokens.ne(dictionary.pad())], None, str)

    def _drawn(self, batch: Batch, settings: SamplerSettings) -> Drawn:
        pair, k = self.players.pair, settings.num_samples
        rollout = roll_out(pair, batch, settings, VALIDATION_UPDATE, noise=False, score=False)
        tokens = rollout.samples.tokens
        rows = tokens.view(-1, k, tokens.size(1))
        alike = (rows.unsqueeze(1) == rows.unsqueeze(2)).all(-1)
        first = alike.int().argmax(-1).cpu()  # argmax gives the first of equals
        rewards = self._rewarded(batch, rollout)
        texts = [self._text(row) for row in tokens]
        pieces = [self._pieces(row, self.players.task.target_dictionary) for row in tokens]
        return Drawn(
            _in_rows(texts, k),
            tokens.ne(self.pad).sum(1).view(-1, k).cpu(),
            first,
            {name: values.cpu().double().gather(1, first) for name, values in rewards.items()},
            _in_rows(pieces, k),
        )

    def _rewarded(self, batch: Batch, rollout: Rollout) -> Dict[str, Tensor]:
        pair = self.players.pair
        reverse = reverse_sample(batch, self.pad, self.eos)
        turn = Turn(pair, batch, reverse, Step("forward", VALIDATION_UPDATE))
        _, found = self.rewards(turn, rollout, use_multiplier=False)
        if {K, K_LOG_Q} & set(self.names):
            found[K] = self.multiplier(pair, batch, rollout).view(turn.size, -1)
        if K_LOG_Q in self.names:
            found[K_LOG_Q] = found[K] * found["log-q"]
        if LENGTH in self.names:
            found[LENGTH] = rollout.samples.tokens.ne(self.pad).sum(1).view(turn.size, -1)
        if LOG_P in self.names:
            log_p = score_samples(pair, batch, rollout.samples, self.as_it_is)
            tokens = reverse["target"].ne(self.pad).sum(1, keepdim=True)
            found[LOG_P] = log_p if self.how.per == "sentence" else log_p / tokens
        return found


def _batches(dataset: FairseqDataset, indices: np.ndarray, max_tokens: int) -> List[np.ndarray]:
    """*indices* in batches of similar length of at most *max_tokens* tokens, or of one source."""
    lengths = np.array([dataset.num_tokens(int(index)) for index in indices])
    ordered = indices[lengths.argsort(kind="stable")]
    batches: List[np.ndarray] = dataset.batch_by_size(ordered, max_tokens=max(max_tokens, int(lengths.max())))
    return batches


def _finish(players: Players) -> Callable[[str], str]:
    """The detokeniser, or nothing."""
    cfg = players.cfg
    if cfg.tokenizer is not None and "target_lang" in cfg.tokenizer:
        cfg.tokenizer.source_lang, cfg.tokenizer.target_lang = cfg.task.source_lang, cfg.task.target_lang
    tokenizer = players.task.build_tokenizer(cfg.tokenizer)
    return tokenizer.decode if tokenizer is not None else str


def _in_rows(items: List[str], k: int) -> List[List[str]]:
    return [items[i : i + k] for i in range(0, len(items), k)]


def _joined(parts: Sequence[Drawn], order: Sequence[int]) -> Drawn:
    """The samples of all batches, the sources in *order*."""
    texts, pieces = ([row for part in parts for row in getattr(part, name)] for name in ("texts", "pieces"))
    rewards = {name: torch.cat([part.rewards[name] for part in parts])[order] for name in parts[0].rewards}
    lengths, first = (torch.cat([getattr(part, name) for part in parts])[order] for name in ("lengths", "first"))
    return Drawn([texts[i] for i in order], lengths, first, rewards, [pieces[i] for i in order])
