"""N-best lists: found by fairseq's own search, or read from what ``fairseq-generate`` printed.

All scores are natural logarithms; ``fairseq-generate`` prints base 2.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from fairseq import utils
from fairseq.data import Dictionary, FairseqDataset
from fairseq.logging import progress_bar
from fairseq.models import BaseFairseqModel
from fairseq.tasks.translation import TranslationTask
from omegaconf import DictConfig
from torch import Tensor

from fairseq_ami.data.dialogue import cut_history
from fairseq_ami.errors import AMIError
from fairseq_ami.types import Batch, Search

_LINE = re.compile(r"([SHP])-(\d+)\t(.*)", re.DOTALL)


@dataclass(frozen=True)
class Hypothesis:
    """One translation T'.

    Attributes:
        tokens: ids with the end symbol, shape (length,).
        score: what the search ranked by, log P(T'|S) / length ** lenpen; natural log.
        log_prob: log P(T'|S), natural log; None if the file did not tell.
        text: words, subwords undone.
    """

    tokens: Tensor
    score: float
    log_prob: Optional[float]
    text: str


@dataclass(frozen=True)
class Candidates:
    """The n-best list of one source.

    Attributes:
        source: ids with the end symbol, shape (length,).
        reference: words of the real translation, subwords undone; None if the data has none.
        hypotheses: in the order of the search, best first; never empty.
        context: how many symbols at the start of the source the backward network reads, before the hypothesis (the
            earlier history of a dialogue).
        written: how many symbols of S the backward network can write; None for all.
    """

    source: Tensor
    reference: Optional[str]
    hypotheses: Tuple[Hypothesis, ...]
    context: int = 0
    written: Optional[int] = None

    @property
    def sought(self) -> Tensor:
        """What the backward network predicts: S, in dialogue its last utterance, as far as it can write."""
        return self.source[self.context :][: self.written]


def context_length(task: TranslationTask, source: Tensor) -> int:
    """How many symbols of *source* the backward network of *task* reads instead of predicting them."""
    separators = getattr(task, "separators", ())
    return len(cut_history(source, separators[0])[0]) if separators else 0


Finish = Callable[[str], str]  # the last step from subwords to text, e.g. a detokeniser


def to_text(
    dictionary: Dictionary, tokens: Tensor, post_process: Optional[str], finish: Finish, reference: bool = False
) -> str:
    """Words of *tokens* as ``fairseq-generate`` prints them; an unknown word of a reference matches nothing."""
    ignore = {dictionary.eos(), dictionary.pad()}
    return finish(dictionary.string(tokens, post_process, escape_unk=reference, extra_symbols_to_ignore=ignore))


def data_of(
    task: TranslationTask, subset: str, post_process: Optional[str], finish: Finish
) -> List[Tuple[Tensor, Optional[str]]]:
    """Source ids and reference text of every sentence of a loaded *subset*, in data order."""
    dataset = task.dataset(subset)
    rows = []
    for index in range(len(dataset)):
        item = dataset[index]
        target = item.get("target")
        words = None if target is None else to_text(task.target_dictionary, target, post_process, finish, True)
        rows.append((item["source"], words))
    return rows


def batches(
    task: TranslationTask, dataset: FairseqDataset, models: Sequence[BaseFairseqModel], cfg: DictConfig, title: str
) -> Iterable[Batch]:
    """Batches of *dataset* by tokens (``--max-tokens``, ``--batch-size``), with fairseq's progress bar.

    Sentences that *models* cannot read are left out: the caller looks for the gaps.
    """
    iterator = task.get_batch_iterator(
        dataset=dataset,
        max_tokens=cfg.dataset.max_tokens,
        max_sentences=cfg.dataset.batch_size,
        max_positions=utils.resolve_max_positions(task.max_positions(), *[model.max_positions() for model in models]),
        ignore_invalid_inputs=True,
        required_batch_size_multiple=1,  # with 8, its default, fairseq leaves out up to 7 sentences
        seed=cfg.common.seed,
        num_workers=cfg.dataset.num_workers,
        data_buffer_size=cfg.dataset.data_buffer_size,
    ).next_epoch_itr(shuffle=False)
    progress = progress_bar.progress_bar(
        iterator,
        log_format=cfg.common.log_format,
        log_interval=cfg.common.log_interval,
        prefix=title,
        default_log_format="tqdm" if not cfg.common.no_progress_bar else "simple",
    )
    device, done = next(models[0].parameters()).device, 0
    for batch in progress:
        yield utils.move_to_cuda(batch, device)  # to any device, whatever its name says
        done += batch["nsentences"]
        progress.log({"sentences": done})


def search(
    task: TranslationTask,
    models: Sequence[BaseFairseqModel],
    generator: Search,
    cfg: DictConfig,
    subset: str,
    nbest: int,
    finish: Finish,
) -> List[Candidates]:
    """The *nbest* best hypotheses of *generator* for every sentence of a loaded *subset*, in data order.

    Raises:
        AMIError: sentences longer than the models can read.
    """
    found: Dict[int, List[Dict[str, Tensor]]] = {}
    for batch in batches(task, task.dataset(subset), models, cfg, f"search {subset}"):
        results = task.inference_step(generator, models, batch)
        found.update(zip(batch["id"].tolist(), results))
    post_process = cfg.common_eval.post_process
    lists = []
    for index, (source, reference) in enumerate(data_of(task, subset, post_process, finish)):
        if index not in found:
            raise AMIError(
                f"sentence {index + 1} of {subset} has {len(source)} symbols, more than the model can read: "
                "leave it out when binarising the data"
            )
        hypotheses = []
        for result in found[index][:nbest]:
            tokens = result["tokens"].long().cpu()
            text = to_text(task.target_dictionary, tokens, post_process, finish)
            log_prob = float(result["positional_scores"].double().sum())
            hypotheses.append(Hypothesis(tokens, float(result["score"]), log_prob, text))
        lists.append(Candidates(source, reference, tuple(hypotheses), context_length(task, source)))
    return lists


# ---------------------------------------------------------------------- files of fairseq-generate


def read_nbest(
    task: TranslationTask, path: str, subset: str, post_process: Optional[str], finish: Finish
) -> List[Candidates]:
    """The n-best lists that ``fairseq-generate`` printed for a loaded *subset*, in data order.

    Reads the lines S- (compared with the data), H- and P-; the others are ignored. The file must have
    been written without ``--remove-bpe``: hypotheses are scored as the subwords that were found.

    Raises:
        AMIError: no such file, another subset, sources without hypotheses, words that the dictionary lacks.
    """
    sources, found = _parse(path)
    data = data_of(task, subset, post_process, finish)
    missing = [index for index in range(len(data)) if not found.get(index)]
    if missing or any(index >= len(data) for index in found):
        raise AMIError(
            f"{path} has hypotheses for {len(found)} sources, {subset} has {len(data)} sentences"
            + (f"; the first one without hypotheses is number {missing[0]} (S-{missing[0]})" if missing else "")
            + ". Write the file with fairseq-generate --gen-subset on the same data, and keep all its lines"
        )
    lists = []
    for index, (source, reference) in enumerate(data):
        _check_source(task.source_dictionary, source, sources.get(index), index, path, subset)
        hypotheses = tuple(_hypothesis(task, path, index, row, post_process, finish) for row in found[index])
        lists.append(Candidates(source, reference, hypotheses, context_length(task, source)))
    return lists


def _parse(path: str) -> Tuple[Dict[int, str], Dict[int, List[List[Any]]]]:
    """Sources, and [score, words, log P or None] of the hypotheses; natural logarithms."""
    sources: Dict[int, str] = {}
    found: Dict[int, List[List[Any]]] = {}
    try:
        with open(path, encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                match = _LINE.match(line.rstrip("\r\n"))
                if match is None:
                    continue
                kind, index, rest = match[1], int(match[2]), match[3]
                try:
                    if kind == "S":
                        sources[index] = rest
                    elif kind == "H":
                        score, _, words = rest.partition("\t")
                        found.setdefault(index, []).append([float(score) * math.log(2), words, None])
                    else:
                        found[index][-1][2] = sum(map(float, rest.split())) * math.log(2)
                except (ValueError, KeyError) as error:
                    message = f"{path}, line {number}: not as fairseq-generate prints it: {line.strip()!r}"
                    raise AMIError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        raise AMIError(f"the n-best file {path} cannot be read: {error}") from error
    return sources, found


def _check_source(
    dictionary: Dictionary, source: Tensor, printed: Optional[str], index: int, path: str, subset: str
) -> None:
    wanted = dictionary.string(source)
    if printed is not None and printed.split() != wanted.split():
        raise AMIError(
            f"{path}: S-{index} is {printed!r}, but this sentence of {subset} is {wanted!r}. Write the file from the "
            "same data, and without --remove-bpe, --bpe and --tokenizer"
        )


def _hypothesis(
    task: TranslationTask, path: str, index: int, row: List[Any], post_process: Optional[str], finish: Finish
) -> Hypothesis:
    score, words, log_prob = row
    dictionary = task.target_dictionary
    unknown = [word for word in words.split() if word not in dictionary and word != dictionary.unk_word]
    if unknown:
        raise AMIError(
            f"{path}: a hypothesis of sentence {index} (H-{index}) has {unknown[0]!r}, which is not in the dictionary. "
            "Write the file with the same dictionary, and without --remove-bpe"
        )
    tokens = dictionary.encode_line(words, add_if_not_exist=False, append_eos=True).long()
    written = [dictionary[separator] for separator in getattr(task, "separators", ()) if tokens.eq(separator).any()]
    if written:
        raise AMIError(
            f"{path}: a hypothesis of sentence {index} (H-{index}) has {written[0]}, which stands between the "
            "utterances of a history: write the file with fairseq-generate --task ami_dialog"
        )
    return Hypothesis(tokens, score, log_prob, to_text(dictionary, tokens, post_process, finish))
