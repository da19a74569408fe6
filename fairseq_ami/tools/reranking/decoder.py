"""MMI decoding of a data set from end to end: n-best lists, backward scores, weights, comparison."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

import numpy as np
from fairseq import tasks, utils
from fairseq.models import BaseFairseqModel
from omegaconf import DictConfig

from fairseq_ami.data.dialogue import HISTORY, REPLY
from fairseq_ami.errors import AMIError
from fairseq_ami.metrics import distinct_n
from fairseq_ami.tools.reranking import nbest, networks
from fairseq_ami.tools.reranking import scores as reranking

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation


@dataclass(frozen=True)
class Scored:
    """A subset with everything that the choice of a hypothesis needs.

    Attributes:
        name: of the subset.
        lists: its n-best lists, in data order.
        log_q: log Q(S|T') of their hypotheses, summed over S; natural log. None without a backward network.
        features: their terms; None without a backward network.
        counts: BLEU's counts; None without references.
    """

    name: str
    lists: Sequence[nbest.Candidates]
    log_q: Optional[Sequence[np.ndarray]]
    features: Optional[reranking.Features]
    counts: Optional[reranking.BleuCounts]


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    BLEU and brevity penalty are None without references. The log_q is the mean of log Q(S|T') per source token (natural
    log), None without a backward network. The length is the mean of |T'| in subwords. The gain is the 95 % interval
    of the BLEU gained over the 1-best (paired bootstrap).
    """

    subset: str
    sentences: int
    system: str
    bleu: Optional[float]
    brevity_penalty: Optional[float]
    dist_1: float
    dist_2: float
    log_q: Optional[float]
    length: float
    changed: int
    gain: Optional[Tuple[float, float]]


class MMIDecoder:
    """Loads task and networks once; scores any subset.

    Args:
        cfg: fairseq's configuration of a generation run.
        backward_path: checkpoint of Q(S|T); None takes the pair's own.
        scores: ``per-token`` or ``sum``.
        tokenize: sacreBLEU's tokenizer.
        needs_backward: whether the choice rests on Q; otherwise Q is used where there is one.

    Raises:
        AMIError: data or checkpoints that are missing or do not fit.
    """

    def __init__(
        self,
        cfg: DictConfig,
        backward_path: Optional[str],
        scores: str,
        tokenize: str,
        needs_backward: bool = True,
    ):
        if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
            cfg.dataset.max_tokens = 12000
        self.cfg, self.scores, self.tokenize = cfg, scores, tokenize
        np.random.seed(cfg.common.seed)
        utils.set_torch_seed(cfg.common.seed)
        self.task = setup_task(cfg)
        if self.task.separators and self.languages == tuple(self.task.backward_languages):
            raise AMIError(f"-s {self.languages[0]} -t {self.languages[1]} is the backward network's own data: replies "
                           f"are reranked on -s {HISTORY} -t {REPLY}")  # fmt: skip
        self.backward_task = self.task.reversed()
        self._load_networks(cfg.common_eval.path, backward_path, needs_backward)
        if cfg.tokenizer is not None and "target_lang" in cfg.tokenizer:
            cfg.tokenizer.source_lang, cfg.tokenizer.target_lang = self.languages
        tokenizer = self.task.build_tokenizer(cfg.tokenizer)
        self.finish = tokenizer.decode if tokenizer is not None else str

    def _load_networks(self, path: Optional[str], backward_path: Optional[str], needs_backward: bool) -> None:
        self.models, self.saved = networks.load_models(path, self.task, self.cfg) if path else ([], None)
        self.backward: List[BaseFairseqModel] = []
        if needs_backward or backward_path or networks.bring_backward(self.models):
            self.backward = networks.backward_networks(self.models, backward_path, self.backward_task, self.cfg)

    def _has_backward(self) -> bool:
        return bool(self.backward)

    @property
    def languages(self) -> Tuple[str, str]:
        return self.task.cfg.source_lang, self.task.cfg.target_lang

    def score(self, subset: str, nbest_file: Optional[str] = None, references: bool = False) -> Scored:
        """N-best lists of *subset*, found by the search or read from *nbest_file*, with all scores.

        Raises:
            AMIError: no such subset, no model to search with, a file that does not fit, or no references
                although *references* asks for them.
        """
        load_subset(self.task, subset, self.saved)
        post_process = self.cfg.common_eval.post_process
        if nbest_file:
            lists = nbest.read_nbest(self.task, nbest_file, subset, post_process, self.finish)
        else:
            lists = self._search(subset)
        known = references or all(entry.reference is not None for entry in lists)
        counts = reranking.bleu_counts(lists, self.tokenize) if known else None
        if not self._has_backward():
            return Scored(subset, lists, None, None, counts)
        if self.task.separators:
            limits = [self.backward_task.max_positions(), *(network.max_positions() for network in self.backward)]
            lists = [replace(entry, written=int(min(writes for _, writes in limits))) for entry in lists]
        log_q = self._backward_log_probs(lists, f"backward scores {subset}")
        return Scored(subset, lists, log_q, reranking.features(lists, log_q, self.scores), counts)

    def _backward_log_probs(self, lists: Sequence[nbest.Candidates], title: str) -> List[np.ndarray]:
        return reranking.backward_log_probs(lists, self.backward_task, self.backward, self.cfg, title)

    def _search(self, subset: str) -> List[nbest.Candidates]:
        if not self.models:
            raise AMIError(f"--path or an n-best file is needed for {subset}")
        options = self.cfg.generation
        generator = self.task.build_generator(self.models, options)
        # fairseq's default of 1 leaves nothing to choose from: all that the search finds
        count = self.task.cfg.latent_noise_draws or (options.nbest if options.nbest > 1 else options.beam)
        return nbest.search(self.task, self.models, generator, self.cfg, subset, count, self.finish)


def load_subset(task: "AMITranslation", subset: str, saved: Optional[DictConfig] = None) -> None:
    """Load *subset*, with what *saved*, the settings of a checkpoint, say of the data.

    Raises:
        AMIError: no such subset, or an empty one.
    """
    try:
        task.load_dataset(subset, task_cfg=saved.task if saved is not None else None)
    except FileNotFoundError as error:
        raise AMIError(f"there is no subset {subset} in {task.cfg.data}: {error}") from error
    if len(task.dataset(subset)) == 0:
        raise AMIError(f"the subset {subset} is empty")


def setup_task(cfg: DictConfig) -> "AMITranslation":
    """The task, with the languages that were given or are found in the data.

    Raises:
        AMIError: no binarised data, or no dictionaries in it.
    """
    try:
        return tasks.setup_task(cfg.task)
    except FileNotFoundError as error:
        raise AMIError(f"{cfg.task.data} holds no binarised data of fairseq-preprocess: {error}") from error
    except Exception as error:
        if "language pair" in str(error):
            raise AMIError(f"{cfg.task.data}: {error} (-s and -t)") from error
        raise


def compare(scored: Scored, choice: np.ndarray, name: str) -> List[Row]:
    """The search's own best against another choice of hypotheses.

    Args:
        scored: the subset.
        choice: index of the hypothesis of each source, shape (sources,).
        name: what the choice is called.
    """
    first = np.zeros(len(scored.lists), dtype=int)
    gain = scored.counts.gain_interval(first, choice) if scored.counts is not None else None
    return [_row(scored, "1-best", first, None), _row(scored, name, choice, gain)]


def _row(scored: Scored, system: str, choice: np.ndarray, gain: Optional[Tuple[float, float]]) -> Row:
    bleu = scored.counts.bleu(choice) if scored.counts is not None else None
    texts = reranking.picked(scored.lists, choice)
    log_q: Optional[float] = None
    if scored.log_q is not None:
        total = sum(scores[index] for scores, index in zip(scored.log_q, choice))
        log_q = float(total / sum(len(entry.sought) for entry in scored.lists))
    return Row(
        scored.name,
        len(choice),
        system,
        bleu.score if bleu else None,
        bleu.bp if bleu else None,
        distinct_n(texts, 1),
        distinct_n(texts, 2),
        log_q,
        float(np.mean([len(entry.hypotheses[index].tokens) for entry, index in zip(scored.lists, choice)])),
        int(np.count_nonzero(choice)),
        gain,
    )
