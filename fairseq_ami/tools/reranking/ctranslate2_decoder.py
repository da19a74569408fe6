"""MMI decoding with networks that were converted for CTranslate2."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple, TypeVar

import numpy as np
import torch
from fairseq.dataclass.configs import GenerationConfig
from omegaconf import DictConfig
from tqdm import tqdm

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.ctranslate2_network import CTranslate2Network, converted_record, folder_between
from fairseq_ami.tools.formats.ctranslate2_writer import NAME
from fairseq_ami.tools.formats.search import Found, Search
from fairseq_ami.tools.reranking import nbest
from fairseq_ami.tools.reranking.decoder import MMIDecoder

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation

# Settings of fairseq's search that CTranslate2 knows.
KNOWN = {"beam", "nbest", "lenpen", "max_len_b", "min_len", "no_repeat_ngram_size", "sampling", "sampling_topk",
         "sampling_topp", "temperature"}  # fmt: skip
Row = TypeVar("Row")
CHUNK = 1024  # sentences between two steps of the progress bar


class CTranslate2Decoder(MMIDecoder):
    """:class:`MMIDecoder` whose search and scores are CTranslate2's; its arguments are the same.

    ``--path`` and ``--backward-path`` name converted folders; the folder of a pair serves for both.

    Raises:
        AMIError: CTranslate2 is missing, folders do not fit the data, or the search needs what CTranslate2 lacks.
    """

    def _load_networks(self, path: Optional[str], backward_path: Optional[str], needs_backward: bool) -> None:
        if self.task.separators:
            raise AMIError(f"--engine {NAME} is for translation: rerank dialogues with --engine fairseq")
        self.models, self.saved, self.backward = [], None, []
        self.how = search_of(self.cfg)
        self.forward_network = self._network(path, self.task, "--path") if path else None
        self.backward_network = None
        if needs_backward or backward_path or (path and converted_record(path).pair):
            self.backward_network = self._network(backward_path or path, self.backward_task, "--backward-path")

    def _has_backward(self) -> bool:
        return self.backward_network is not None

    def _network(self, path: str, task: "AMITranslation", what: str) -> CTranslate2Network:
        folder = folder_between(path, (task.cfg.source_lang, task.cfg.target_lang), what)
        on_gpu = torch.cuda.is_available() and not self.cfg.common.cpu
        network = CTranslate2Network(folder, "cuda" if on_gpu else "cpu", batch_size=self.cfg.dataset.batch_size)
        pairs = [(task.source_dictionary, network.source_dictionary)]
        pairs.append((task.target_dictionary, network.target_dictionary))
        if any(ours.symbols != theirs.symbols for ours, theirs in pairs):
            raise AMIError(f"{what} {folder} does not have the dictionaries of this data")
        return network

    def _search(self, subset: str) -> List[nbest.Candidates]:
        if self.forward_network is None:
            raise AMIError(f"--path or an n-best file is needed for {subset}")
        post_process = self.cfg.common_eval.post_process
        lists = []
        data = nbest.data_of(self.task, subset, post_process, self.finish)
        for start, rows in self._chunks(data, f"search {subset}"):
            results = self.forward_network.search([source for source, _ in rows], replace(self.how, first=start))
            for (source, reference), found in zip(rows, results):
                hypotheses = tuple(self._hypothesis(hyp, post_process) for hyp in found)
                lists.append(nbest.Candidates(source, reference, hypotheses))
        return lists

    def _hypothesis(self, found: Found, post_process: Optional[str]) -> nbest.Hypothesis:
        text = nbest.to_text(self.task.target_dictionary, found.tokens, post_process, self.finish)
        return nbest.Hypothesis(found.tokens, found.score, found.log_prob, text)

    def _backward_log_probs(self, lists: Sequence[nbest.Candidates], title: str) -> List[np.ndarray]:
        scores = []
        for _, rows in self._chunks(lists, title):
            hypotheses = [hypothesis.tokens for entry in rows for hypothesis in entry.hypotheses]
            sought = [entry.sought for entry in rows for _ in entry.hypotheses]
            found = np.array(self.backward_network.log_probs(hypotheses, sought))
            scores += np.split(found, np.cumsum([len(entry.hypotheses) for entry in rows])[:-1])
        return scores

    def _chunks(self, rows: Sequence[Row], title: str) -> Iterator[Tuple[int, Sequence[Row]]]:
        hidden = True if self.cfg.common.no_progress_bar else None  # None: no bar where there is no terminal
        for start in tqdm(range(0, len(rows), CHUNK), desc=title, leave=False, disable=hidden):
            yield start, rows[start : start + CHUNK]


def search_of(cfg: DictConfig) -> Search:
    """fairseq's settings of the search as CTranslate2 takes them.

    Raises:
        AMIError: a setting that CTranslate2 does not have.
    """
    options = cfg.generation
    for field in fields(GenerationConfig):
        if field.name in KNOWN or field.name.startswith("_"):
            continue
        if getattr(options, field.name, field.default) != field.default:
            raise AMIError(f"--engine {NAME} does not have --{field.name.replace('_', '-')}: take --engine fairseq")
    if cfg.task.get("latent_noise_draws"):
        raise AMIError(f"--engine {NAME} has no latent noise: leave --latent-noise-draws out")
    if cfg.common.fp16:
        raise AMIError(f"--engine {NAME} takes the type that was exported: leave --fp16 out")
    return Search(
        beam=options.beam,
        nbest=options.nbest if options.nbest > 1 else options.beam,  # as with fairseq: all that the search finds
        lenpen=options.lenpen,
        max_len_b=options.max_len_b,
        min_len=options.min_len,
        no_repeat_ngram=options.no_repeat_ngram_size,
        sampling=options.sampling,
        topk=max(options.sampling_topk, 0),
        topp=options.sampling_topp if options.sampling_topp > 0 else 1.0,
        temperature=options.temperature,
        seed=cfg.common.seed,
    )
