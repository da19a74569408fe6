"""Rerank n-best lists by forward score, backward score and length; takes the search options of fairseq-generate."""

import argparse
import json
import logging
import os
import sys
import warnings
from dataclasses import asdict
from typing import Any, Dict, List, Optional, Tuple

from fairseq import utils
from fairseq.data.data_utils import infer_language_pair
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

import fairseq_ami
from fairseq_ami.cli.options.rerank import TASKS
from fairseq_ami.data.dialogue import CONTEXT, HISTORY, LAST, REPLY
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.plugin import register
from fairseq_ami.tools.reranking.decoder import MMIDecoder, Row, Scored, compare
from fairseq_ami.tools.reranking.scores import Tuned, picked, tune


def run(args: argparse.Namespace) -> int:
    """Tune, rerank, write, report."""
    check_arguments(args)
    register()
    show_progress()
    decoder = MMIDecoder(configuration(args), args.backward_path, args.scores, args.bleu_tokenize)
    done: List[Scored] = []
    tuned, weights = None, (args.weight, args.length_weight or 0.0)
    if args.weight is None:
        done.append(decoder.score(args.tune_subset, args.tune_nbest_file, references=True))
        gammas = args.length_grid if args.length_weight is None else (args.length_weight,)
        tuned = tune(done[0].features, done[0].counts, args.lambda_grid, gammas)
        weights = tuned.weight, tuned.length_weight
    if not done or (args.gen_subset, args.nbest_file) != (args.tune_subset, args.tune_nbest_file):
        done.append(decoder.score(args.gen_subset, args.nbest_file))
    texts = picked(done[-1].lists, done[-1].features.choose(*weights))
    write_text(args.output, "".join(text + "\n" for text in texts))
    rows = [row for scored in done for row in compare(scored, *weights)]
    signature = next((scored.counts.signature for scored in done if scored.counts is not None), None)
    if args.json:
        found = as_json(args, rows, weights, tuned, signature)
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    print(report(args, rows, weights, tuned, signature))
    return 0


def show_progress() -> None:
    """fairseq's messages in fairseq's form, on stderr: stdout is for the table."""
    form = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"
    level = os.environ.get("LOGLEVEL", "INFO").upper()
    logging.basicConfig(format=form, datefmt="%Y-%m-%d %H:%M:%S", level=level, stream=sys.stderr, force=True)
    logging.getLogger("hydra").setLevel(logging.WARNING)


def check_arguments(args: argparse.Namespace) -> None:
    """What can be known before anything is loaded.

    Raises:
        AMIError: options that contradict each other, or files that could not be written or read.
    """
    if not args.path and not (args.backward_path and args.nbest_file):
        raise AMIError("--path names the checkpoint to decode with (or give both --nbest-file and --backward-path)")
    if args.score_reference:
        raise AMIError("--score-reference searches for nothing: there is no n-best list to rerank")
    if args.weight is None and args.nbest_file and not args.tune_nbest_file:
        raise AMIError("--nbest-file: tune with --tune-nbest-file (the same search on --tune-subset), or give --lambda")
    if args.tune_nbest_file and not args.nbest_file:
        raise AMIError("--tune-nbest-file goes with --nbest-file: both lists must come from the same search")
    check_writable(args.output, args.json)


def configuration(args: argparse.Namespace) -> DictConfig:
    """fairseq's configuration of a generation run from our options."""
    values = {**vars(args), "task": args.task or task_of(args), "user_dir": None}
    for name in ("source_lang", "target_lang"):
        if values[name] is None:  # to be found in the data; a tokenizer's settings cannot hold None
            del values[name]
    given = argparse.Namespace(**values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what hydra thinks of fairseq
        return convert_namespace_to_omegaconf(given)


def task_of(args: argparse.Namespace) -> str:
    """The task that the languages tell, given ones or those of the data."""
    given = (args.source_lang, args.target_lang)
    folder = utils.split_paths(args.data)[0]
    if None in given and os.path.isdir(folder):
        given = infer_language_pair(folder)
    return TASKS[1] if tuple(given) in ((HISTORY, REPLY), (CONTEXT, LAST)) else TASKS[0]


# ---------------------------------------------------------------------- results


def report(
    args: argparse.Namespace,
    rows: List[Row],
    weights: Tuple[float, float],
    tuned: Optional[Tuned],
    signature: Optional[str],
) -> str:
    """The table that is printed."""
    titles = "subset sents system BLEU BP Dist-1 Dist-2 log_Q/tok length changed gain_(95_%)".split()
    lines = ["{:<10} {:>6}  {:<9} {:>6} {:>6} {:>7} {:>7} {:>9} {:>7} {:>8}  {}".format(*titles).replace("_", " ")]
    for row in rows:
        bleu = f"{row.bleu:6.2f} {row.brevity_penalty:6.3f}" if row.bleu is not None else f"{'-':>6} {'-':>6}"
        gain = "{:+.2f} to {:+.2f}".format(*row.gain) if row.gain else ""
        line = f"{row.subset:<10} {row.sentences:>6}  {row.system:<9} {bleu} {row.dist_1:7.4f} {row.dist_2:7.4f} "
        lines.append(f"{line}{row.log_q:9.4f} {row.length:7.2f} {row.changed:>8}  {gain}".rstrip())
    how = f"tuned on {args.tune_subset}: best of {len(tuned.grid)} settings" if tuned else "as given"
    lines.append(f"lambda {weights[0]:g}, length weight {weights[1]:g} ({how})")
    lines.append(f"scores: {args.scores}, natural logarithms")
    if signature is not None:
        lines.append(f"BLEU: sacreBLEU {signature}; gain: paired bootstrap over the 1-best")
    if tuned and weights[0] == max(args.lambda_grid) > 0:
        lines.append("the best lambda is the largest one tried: widen --lambda-grid")
    lines.append(f"written: {args.output}")
    return "\n".join(lines)


def as_json(
    args: argparse.Namespace,
    rows: List[Row],
    weights: Tuple[float, float],
    tuned: Optional[Tuned],
    signature: Optional[str],
) -> Dict[str, Any]:
    """The same as plain data, with the whole grid."""
    names = "path backward_path gen_subset tune_subset nbest_file tune_nbest_file scores beam nbest lenpen sampling"
    return {
        "version": fairseq_ami.__version__,
        "settings": {name: getattr(args, name) for name in [*names.split(), "latent_noise_draws", "seed"]},
        "lambda": weights[0],
        "length_weight": weights[1],
        "tuned": tuned is not None,
        "grid": [dict(zip(("lambda", "length_weight", "bleu"), point)) for point in tuned.grid] if tuned else [],
        "results": [asdict(row) for row in rows],
        "signature": signature,
    }
