"""A pair of networks that reads and writes text: translate both ways, score, sample with latent noise."""

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Union, cast

import torch
from fairseq import utils
from fairseq.data import encoders
from fairseq.models import BaseFairseqModel
from omegaconf import DictConfig
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import SamplerSettings, roll_out
from fairseq_ami.models.paired import DIRECTIONS, PairedModel
from fairseq_ami.tools.sharing.text_interface import TextInterface
from fairseq_ami.types import Arguments

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation


@dataclass(frozen=True)
class Score:
    """Log-likelihood of a target given its source, in nats.

    Attributes:
        log_prob: of the sentence, its end symbol included.
        token_log_probs: of each symbol, shape (length,).
        tokens: the symbols, the last one the end symbol.
    """

    log_prob: float
    token_log_probs: Tensor
    tokens: List[str]


class AMIHubInterface(TextInterface):
    """A pair of networks that reads and writes text.

    *direction* is ``forward``, P(T|S), or ``backward``, Q(S|T), whatever the languages
    are called; by default the one that was loaded: forward, unless source and target were swapped. One
    thread at a time: the direction is a state of the models.

    Args:
        cfg: fairseq's configuration, of the checkpoint.
        task: a translation task in one of the pair's directions.
        models: pairs; more than one is an ensemble.

    Raises:
        AMIError: a model that is not a pair.
    """

    def __init__(self, cfg: DictConfig, task: "AMITranslation", models: Sequence[BaseFairseqModel]):
        if not all(isinstance(model, PairedModel) for model in models):
            raise AMIError("this interface is for pairs of networks (ami_transformer, ami_lstm)")
        super().__init__(cfg, task, models)
        self.tokenizer: Any
        self.direction = models[0].direction
        other = "backward" if self.direction == "forward" else "forward"
        self._tasks = {self.direction: task, other: task.reversed()}
        self._tokenizers = {self.direction: self.tokenizer, other: _swapped_tokenizer(cfg.tokenizer)}

    @contextmanager
    def facing(self, direction: Optional[str]) -> Iterator[None]:
        """Inside, all methods of the interface work in *direction*.

        Raises:
            AMIError: an unknown direction, or one that there is no network for.
        """
        if direction is not None and direction not in DIRECTIONS:
            raise AMIError(f"direction {direction!r}: choose forward or backward")
        if direction == "backward" and any(model.backward_model is None for model in self.models):
            raise AMIError("there is no backward network: the pair was trained without one")
        before = self.direction
        self._face(direction or before)
        try:
            yield
        finally:
            self._face(before)

    def _face(self, direction: str) -> None:
        self.direction, self.task, self.tokenizer = direction, self._tasks[direction], self._tokenizers[direction]
        for model in self.models:
            model.direction = direction
        self.src_dict, self.tgt_dict = self.task.source_dictionary, self.task.target_dictionary
        self.max_positions = utils.resolve_max_positions(
            self.task.max_positions(), *[model.max_positions() for model in self.models]
        )

    # ------------------------------------------------------------------ translation

    def translate(
        self,
        sentences: Union[str, Sequence[str]],
        beam: int = 5,
        verbose: bool = False,
        direction: Optional[str] = None,
        **kwargs: Any,
    ) -> Union[str, List[str]]:
        """The best hypothesis of beam search for each sentence (a string for a string).

        Args:
            kwargs: settings of fairseq's generation, e.g. ``lenpen=0.6``.

        Raises:
            AMIError: a sentence longer than the model reads.
        """
        if isinstance(sentences, str):
            return self.translate([sentences], beam, verbose, direction, **kwargs)[0]
        with self.facing(direction):
            tokens = self._encode_sources(sentences)
            hypotheses = self.generate(tokens, beam, verbose, **kwargs) if tokens else []
            return [self.decode(best[0]["tokens"]) for best in hypotheses]

    def backtranslate(
        self, sentences: Union[str, Sequence[str]], beam: int = 5, **kwargs: Any
    ) -> Union[str, List[str]]:
        """:meth:`translate` with the backward network Q(S|T)."""
        return self.translate(sentences, beam=beam, direction="backward", **kwargs)

    def _encode_sources(self, sentences: Sequence[str]) -> List[Tensor]:
        return [self._checked(self.encode(s), number, self.max_positions[0]) for number, s in enumerate(sentences)]

    # ------------------------------------------------------------------ scores

    @torch.no_grad()
    def score(
        self,
        sources: Union[str, Sequence[str]],
        targets: Union[str, Sequence[str]],
        direction: Optional[str] = None,
    ) -> Union[Score, List[Score]]:
        """Log-likelihood of each target given its source, in nats (``fairseq-generate`` prints bits).

        Args:
            sources: what *direction* reads: S for ``forward``, T for ``backward``.
            targets: what it writes, in the same number.

        Raises:
            AMIError: not as many targets as sources, or a sentence that is too long.
        """
        if isinstance(sources, str) and isinstance(targets, str):
            (one,) = cast(List[Score], self.score([sources], [targets], direction))
            return one
        if isinstance(sources, str) or isinstance(targets, str) or len(sources) != len(targets):
            raise AMIError("score: give one target for each source")
        with self.facing(direction):
            read = self._encode_sources(sources)
            with self._writing_side():
                written = [self._checked(self.encode(t), n, self.max_positions[1]) for n, t in enumerate(targets)]
            return [self._as_score(result) for result in self.score_tokens(read, written)]

    @contextmanager
    def _writing_side(self) -> Iterator[None]:
        """Encode text of the target language: with the other direction's tokenizer and dictionary."""
        here = self.tokenizer, self.src_dict
        other = "backward" if self.direction == "forward" else "forward"
        self.tokenizer, self.src_dict = self._tokenizers[other], self.tgt_dict
        try:
            yield
        finally:
            self.tokenizer, self.src_dict = here

    def _as_score(self, hypothesis: Dict[str, Any]) -> Score:
        per_token = hypothesis["positional_scores"].float().cpu()
        symbols = [self.tgt_dict[int(token)] for token in hypothesis["tokens"]]
        return Score(float(per_token.sum()), per_token, symbols)

    # ------------------------------------------------------------------ samples

    @torch.no_grad()
    def sample(
        self,
        sentences: Union[str, Sequence[str]],
        num_samples: int = 1,
        noise: bool = True,
        temperature: float = 1.0,
        seed: int = 1,
        topk: int = 0,
        topp: float = 1.0,
        max_len_a: float = 1.5,
        max_len_b: int = 10,
        direction: Optional[str] = None,
    ) -> Union[List[str], List[List[str]]]:
        """Ancestral samples, drawn as training draws them: one draw of the latent noise per sample.

        Args:
            num_samples: strings in the list of each sentence (one list for a string).
            noise: perturb the encoder's output with the noise network (equation 14; forward only).
            seed: with the number of a sentence in *sentences* it fixes its samples.
            topk: draw from the likeliest symbols only; 0 takes all.
            topp: draw from the smallest set of symbols that has this probability; 1 takes all.
            max_len_a: a of the longest sample, which has a * |S| + b symbols, or what the other direction can read.
            max_len_b: b of the longest sample.

        Raises:
            AMIError: noise without a noise network or backward, several models, or settings out of range.
        """
        if isinstance(sentences, str):
            options = (num_samples, noise, temperature, seed, topk, topp, max_len_a, max_len_b, direction)
            (drawn_texts,) = cast(List[List[str]], self.sample([sentences], *options))
            return drawn_texts
        with self.facing(direction):
            sources = self._encode_sources(sentences)
            drawn = self.sample_tokens(sources, num_samples, noise, temperature, seed, topk, topp, max_len_a, max_len_b)
            return [[self.decode(tokens) for tokens in samples] for samples in drawn]

    @torch.no_grad()
    def sample_tokens(
        self,
        sources: Sequence[Tensor],
        num_samples: int,
        noise: bool,
        temperature: float,
        seed: int,
        topk: int,
        topp: float,
        max_len_a: float,
        max_len_b: int,
        first: int = 0,
    ) -> List[List[Tensor]]:
        """:meth:`sample` from ids to ids, in the current direction: samples with the end symbol, shape (length,).

        Args:
            first: number of the first source, where the sources are a part of a longer text.

        Raises:
            AMIError: see :meth:`sample`.
        """
        self._check_sampling(num_samples, noise, temperature, topk, topp)
        banned = (self.tgt_dict.pad(), self.tgt_dict.bos(), *getattr(self.task, "separators", ()))
        policy, pad, eos = Policy(banned, temperature, topk, topp), self.tgt_dict.pad(), self.tgt_dict.eos()
        settings = SamplerSettings(policy, "ancestral", num_samples, max_len_a, max_len_b, seed, pad, eos)
        model = self.models[0]
        model.eval()
        found: Dict[int, List[Tensor]] = {}
        for batch in self._build_batches(list(sources), False) if len(sources) else ():
            batch = utils.apply_to_sample(lambda tensor: tensor.to(self.device), {**batch, "id": batch["id"] + first})
            drawn = roll_out(model, batch, settings, 0, noise, score=False, network=model.active)
            rows = [utils.strip_pad(row, pad).cpu() for row in drawn.samples.tokens]
            for i, number in enumerate(batch["id"].tolist()):
                found[number] = rows[i * num_samples : (i + 1) * num_samples]
        return [found[number] for number in sorted(found)]

    def _check_sampling(self, num_samples: int, noise: bool, temperature: float, topk: int, topp: float) -> None:
        if len(self.models) != 1:
            raise AMIError("sample: an ensemble has no latent representation of its own; load one model")
        if noise and (self.direction == "backward" or self.models[0].latent_noise is None):
            raise AMIError("sample: no noise network in this direction (or model): pass noise=False")
        if num_samples < 1 or temperature <= 0 or topk < 0 or not 0 < topp <= 1:
            raise AMIError("sample: num_samples >= 1, temperature > 0, topk >= 0 and 0 < topp <= 1 are needed")


def _swapped_tokenizer(cfg: Optional[Arguments]) -> Any:
    """The tokenizer of the other direction; one without languages serves both."""
    if cfg is None or "source_lang" not in cfg:
        return encoders.build_tokenizer(cfg)
    cfg = copy.deepcopy(cfg)
    cfg.source_lang, cfg.target_lang = cfg.target_lang, cfg.source_lang
    return encoders.build_tokenizer(cfg)
