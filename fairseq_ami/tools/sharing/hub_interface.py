"""A pair of networks that reads and writes text: translate both ways, score, sample with latent noise."""

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Union, cast

import torch
from fairseq import hub_utils, utils
from fairseq.data import LanguagePairDataset, encoders
from fairseq.models import BaseFairseqModel
from fairseq.sequence_scorer import SequenceScorer
from omegaconf import DictConfig
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import SamplerSettings, roll_out
from fairseq_ami.models.paired import DIRECTIONS, PairedModel
from fairseq_ami.types import Arguments, Batch

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


class AMIHubInterface(hub_utils.GeneratorHubInterface):
    """A pair of networks that reads and writes text.

    Text is raw when the folder records its tokenisation and BPE (``fairseq-ami export``), else symbols
    separated by spaces. *direction* is ``forward``, P(T|S), or ``backward``, Q(S|T), whatever the languages
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
            AMIError: an unknown direction.
        """
        if direction is not None and direction not in DIRECTIONS:
            raise AMIError(f"direction {direction!r}: choose forward or backward")
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

    @staticmethod
    def _checked(tokens: Tensor, number: int, limit: int) -> Tensor:
        if len(tokens) > limit:
            raise AMIError(f"sentence {number} has {len(tokens)} symbols, the model takes {limit}: split it")
        return tokens

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
            scorer = SequenceScorer(self.tgt_dict)
            found: Dict[int, Score] = {}
            for batch in self._pair_batches(read, written):
                for number, best in zip(batch["id"].tolist(), scorer.generate(self.models, batch)):
                    found[number] = self._as_score(best[0])
            return [found[number] for number in range(len(found))]

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

    def _pair_batches(self, sources: List[Tensor], targets: List[Tensor]) -> Iterator[Batch]:
        if not sources:
            return
        dataset = LanguagePairDataset(
            sources,
            torch.LongTensor([len(tokens) for tokens in sources]),
            self.src_dict,
            targets,
            torch.LongTensor([len(tokens) for tokens in targets]),
            self.tgt_dict,
            left_pad_source=self.task.cfg.left_pad_source,
            left_pad_target=self.task.cfg.left_pad_target,
            shuffle=False,
        )
        batches = self.task.get_batch_iterator(
            dataset=dataset,
            max_tokens=self.cfg.dataset.max_tokens,
            max_sentences=self.cfg.dataset.batch_size,
            max_positions=self.max_positions,
            disable_iterator_cache=True,
        ).next_epoch_itr(shuffle=False)
        for batch in batches:
            yield utils.apply_to_sample(lambda tensor: tensor.to(self.device), batch)

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
        """Ancestral samples, drawn as training draws them: one draw of the latent noise a sample.

        Args:
            num_samples: strings in the list of each sentence (one list for a string).
            noise: perturb the encoder's output with the noise network (equation 14; forward only).
            seed: with the number of a sentence in *sentences* it fixes its samples.
            topk, topp: cut the distribution; 0 and 1 leave it whole.
            max_len_a, max_len_b: longest sample is a * |S| + b symbols, or what the other direction can read.

        Raises:
            AMIError: noise without a noise network or backward, several models, or settings out of range.
        """
        if isinstance(sentences, str):
            options = (num_samples, noise, temperature, seed, topk, topp, max_len_a, max_len_b, direction)
            (drawn_texts,) = cast(List[List[str]], self.sample([sentences], *options))
            return drawn_texts
        with self.facing(direction):
            self._check_sampling(num_samples, noise, temperature, topk, topp)
            banned = (self.tgt_dict.pad(), self.tgt_dict.bos(), *getattr(self.task, "separators", ()))
            policy, pad, eos = Policy(banned, temperature, topk, topp), self.tgt_dict.pad(), self.tgt_dict.eos()
            settings = SamplerSettings(policy, "ancestral", num_samples, max_len_a, max_len_b, seed, pad, eos)
            model = self.models[0]
            model.eval()
            found: Dict[int, List[str]] = {}
            sources = self._encode_sources(sentences)
            for batch in self._build_batches(sources, False) if sources else ():
                batch = utils.apply_to_sample(lambda tensor: tensor.to(self.device), batch)
                drawn = roll_out(model, batch, settings, 0, noise, score=False, network=model.active)
                texts = [self.decode(utils.strip_pad(row, pad)) for row in drawn.samples.tokens]
                for i, number in enumerate(batch["id"].tolist()):
                    found[number] = texts[i * num_samples : (i + 1) * num_samples]
            return [found[number] for number in range(len(found))]

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
