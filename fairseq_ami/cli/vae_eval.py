"""``fairseq-ami vae-eval``: likelihood, latent metrics and perplexities of generated text of text VAEs."""

import argparse
import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Union

import fairseq_ami
from fairseq_ami.cli.messages import progress_bar
from fairseq_ami.cli.text_vae import check_data, find, load
from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.tools.text_vae.gaps import Optimisation, measure_gaps
from fairseq_ami.tools.text_vae.generated_text import (
    GeneratedTextJudge,
    dataset_sentences,
    sentences_from_prior,
)
from fairseq_ami.tools.text_vae.likelihood import Settings, measure
from fairseq_ami.tools.text_vae.ngram_lm import KenLM, NGramError, temporary_folder
from fairseq_ami.tools.text_vae.report import Row, tables

if TYPE_CHECKING:
    from fairseq_ami.tasks.text_vae import TextVAETask


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    names = check_arguments(args)
    found = [find(path, args.data) for path in args.checkpoint]
    rows: List[Row] = []
    try:
        with contextlib.ExitStack() as stack:
            judge: Union[GeneratedTextJudge, str, None] = None
            for name, path, where in zip(names, args.checkpoint, found):
                model, task = load(where, args)
                if judge is None and not args.no_generation:
                    judge = _judge(args, task, stack)
                rows.append(_row(name, path, model, task, judge, args))
                if args.json:
                    write_text(args.json, json.dumps(_as_json(args, rows), indent=2) + "\n")
    finally:  # what was measured is shown, whatever happened to the others
        if rows:
            print(tables(rows, args.mi_batch, args.iw_samples, args.iw_bf16))
    return 0


def check_arguments(args: argparse.Namespace) -> List[str]:
    """What can be known before anything is loaded; returns the rows' names.

    Raises:
        AMIError: options that cannot work.
    """
    check_writable(args.json)
    check_data(args.data)
    if args.name and len(args.name) != len(args.checkpoint):
        raise AMIError(f"--name: {len(args.name)} names for {len(args.checkpoint)} checkpoints")
    return list(args.name or args.checkpoint)


def _row(
    name: str,
    path: str,
    model: TextVAE,
    task: "TextVAETask",
    judge: Union[GeneratedTextJudge, str, None],
    args: argparse.Namespace,
) -> Row:
    """Everything about one checkpoint."""

    def progress(items: Iterable[Any], what: str) -> Iterable[Any]:
        return progress_bar(items, f"{name}: {what}")

    longest = model.max_positions() - 1  # the end symbol takes the last place
    max_len = longest if args.max_len is None else args.max_len
    if max_len > longest:
        raise AMIError(f"--max-len {max_len}: {path} makes sentences of at most {longest} words")
    dataset = _dataset(task, args.subset)
    settings = Settings(args.iw_samples, args.mi_batch, args.max_tokens, args.seed, args.iw_bf16)
    row = Row(name, path, measure(model, dataset, settings, progress))
    if row.metrics.ppl > len(task.dictionary):
        row.remarks.append("worse than guessing among all words: was it trained with another dictionary?")
    if args.svi_steps and model.encoder is not None:
        how = Optimisation(args.svi_steps, args.svi_rate, args.svi_sentences)
        for split in dict.fromkeys((args.subset, args.svi_against)):
            row.gaps.append(measure_gaps(model, _dataset(task, split), split, settings, how, progress))
    if isinstance(judge, str):
        row.remarks.append(f"no FPPL and RPPL: {judge}")
    elif judge is not None:
        for decoding in args.decoding:
            sentences = sentences_from_prior(model, decoding, args.samples, max_len, args.seed, progress)
            row.text.append(judge.measure(decoding, sentences))
    return row


def _dataset(task: "TextVAETask", split: str) -> SentenceDataset:
    if split not in task.datasets:
        task.load_dataset(split)
    return task.dataset(split)


def _judge(
    args: argparse.Namespace, task: "TextVAETask", stack: contextlib.ExitStack
) -> Union[GeneratedTextJudge, str]:
    """The judge of generated text, or why there is none: the other figures do not need it."""
    try:
        kenlm = KenLM.find(args.kenlm)
        training, test = (dataset_sentences(_dataset(task, split), task.dictionary) for split in ("train", args.subset))
        folder = stack.enter_context(temporary_folder())
        words = len(task.dictionary) - 2  # no sentence holds the symbols of padding and beginning
        return GeneratedTextJudge(kenlm, folder, training, test, words)
    except (AMIError, NGramError) as error:
        return str(error)


def _as_json(args: argparse.Namespace, rows: List[Row]) -> Dict[str, Any]:
    given = "data subset iw_samples iw_bf16 mi_batch svi_steps svi_rate svi_sentences svi_against"
    given += " samples decoding max_len max_tokens seed"
    settings: Dict[str, Optional[Any]] = {name: getattr(args, name) for name in given.split()}
    return {"version": fairseq_ami.__version__, "settings": settings, "results": [row.as_dict() for row in rows]}
