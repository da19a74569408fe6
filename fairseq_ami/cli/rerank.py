"""Rerank n-best lists by forward score, backward score and length, or by minimum Bayes risk.

Takes the search options of fairseq-generate.
"""

import argparse
import json
import os
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
from fairseq import utils
from fairseq.data.data_utils import infer_language_pair
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig

import fairseq_ami
from fairseq_ami.cli.messages import progress_bar, show_progress
from fairseq_ami.cli.options.rerank import TASKS
from fairseq_ami.data.dialogue import CONTEXT, HISTORY, LAST, REPLY
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.plugin import register
from fairseq_ami.tools.formats.ctranslate2_writer import NAME as CTRANSLATE2
from fairseq_ami.tools.reranking.ctranslate2_decoder import CTranslate2Decoder
from fairseq_ami.tools.reranking.decoder import MMIDecoder, Row, Scored, compare
from fairseq_ami.tools.reranking.mbr import choose_by_risk
from fairseq_ami.tools.reranking.scores import Tuned, picked, tune


def run(args: argparse.Namespace) -> int:
    """Tune, rerank, write, report."""
    check_arguments(args)
    register()
    show_progress()
    decoder_class = CTranslate2Decoder if args.engine == CTRANSLATE2 else MMIDecoder
    decoder = decoder_class(configuration(args), args.backward_path, args.scores, args.bleu_tokenize, args.mbr is None)
    if args.mbr is None:
        done, choices, found = by_information(args, decoder)
    else:
        done = [decoder.score(args.gen_subset, args.nbest_file)]
        choices, found = [choose_by_risk(done[0].lists, args.mbr, progress_bar)], Found()
    write_text(args.output, "".join(text + "\n" for text in picked(done[-1].lists, choices[-1])))
    name = "reranked" if args.mbr is None else "mbr"
    rows = [row for scored, choice in zip(done, choices) for row in compare(scored, choice, name)]
    signature = next((scored.counts.signature for scored in done if scored.counts is not None), None)
    if args.json:
        write_text(args.json, json.dumps(as_json(args, rows, found, signature), indent=2) + "\n")
    print(report(args, rows, found, signature))
    return 0


@dataclass(frozen=True)
class Found:
    """Lambda and gamma, and the grid search that found them if there was one; nothing of MBR."""

    weight: Optional[float] = None
    length_weight: Optional[float] = None
    tuned: Optional[Tuned] = None


def by_information(args: argparse.Namespace, decoder: MMIDecoder) -> Tuple[List[Scored], List[np.ndarray], Found]:
    """Subsets, the tuned one first and the reranked one last, what MMI chooses in each, and its weights."""
    done: List[Scored] = []
    found = Found(args.weight, args.length_weight or 0.0)
    if args.weight is None:
        done.append(decoder.score(args.tune_subset, args.tune_nbest_file, references=True))
        gammas = args.length_grid if args.length_weight is None else (args.length_weight,)
        tuned = tune(done[0].features, done[0].counts, args.lambda_grid, gammas)
        found = Found(tuned.weight, tuned.length_weight, tuned)
    if not done or (args.gen_subset, args.nbest_file) != (args.tune_subset, args.tune_nbest_file):
        done.append(decoder.score(args.gen_subset, args.nbest_file))
    return done, [scored.features.choose(found.weight, found.length_weight) for scored in done], found


def check_arguments(args: argparse.Namespace) -> None:
    """What can be known before anything is loaded.

    Raises:
        AMIError: options that contradict each other, or files that could not be written or read.
    """
    if args.mbr is not None:
        _check_mbr(args)
    elif not args.path and not (args.backward_path and args.nbest_file):
        raise AMIError("--path names the checkpoint to decode with (or give both --nbest-file and --backward-path)")
    if args.score_reference:
        raise AMIError("--score-reference searches for nothing: there is no n-best list to rerank")
    if args.mbr is None and args.weight is None and args.nbest_file and not args.tune_nbest_file:
        raise AMIError("--nbest-file: tune with --tune-nbest-file (the same search on --tune-subset), or give --lambda")
    if args.tune_nbest_file and not args.nbest_file:
        raise AMIError("--tune-nbest-file goes with --nbest-file: both lists must come from the same search")
    check_writable(args.output, args.json)


def _check_mbr(args: argparse.Namespace) -> None:
    given = {"--lambda": args.weight, "--length-weight": args.length_weight, "--tune-nbest-file": args.tune_nbest_file}
    for option, value in given.items():
        if value is not None:
            raise AMIError(f"--mbr chooses by the candidates alone: leave out {option}")
    if not args.path and not args.nbest_file:
        raise AMIError("--path names the checkpoint to decode with (or give --nbest-file)")


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


def report(args: argparse.Namespace, rows: List[Row], found: Found, signature: Optional[str]) -> str:
    """The table that is printed."""
    titles = "subset sents system BLEU BP Dist-1 Dist-2 log_Q/tok length changed gain_(95_%)".split()
    lines = ["{:<10} {:>6}  {:<9} {:>6} {:>6} {:>7} {:>7} {:>9} {:>7} {:>8}  {}".format(*titles).replace("_", " ")]
    for row in rows:
        bleu = f"{row.bleu:6.2f} {row.brevity_penalty:6.3f}" if row.bleu is not None else f"{'-':>6} {'-':>6}"
        log_q = f"{row.log_q:9.4f}" if row.log_q is not None else f"{'-':>9}"
        gain = "{:+.2f} to {:+.2f}".format(*row.gain) if row.gain else ""
        line = f"{row.subset:<10} {row.sentences:>6}  {row.system:<9} {bleu} {row.dist_1:7.4f} {row.dist_2:7.4f} "
        lines.append(f"{line}{log_q} {row.length:7.2f} {row.changed:>8}  {gain}".rstrip())
    lines += how_chosen(args, found)
    if signature is not None:
        lines.append(f"BLEU: sacreBLEU {signature}; gain: paired bootstrap over the 1-best")
    lines.append(f"written: {args.output}")
    return "\n".join(lines)


def how_chosen(args: argparse.Namespace, found: Found) -> List[str]:
    if args.mbr is not None:
        counted = "each counts by P(T'|S)" if args.mbr == "probability" else "all count equally"
        return [f"mbr: highest mean sentence chrF against the other hypotheses of the list, {counted}"]
    tuned = found.tuned
    how = f"tuned on {args.tune_subset}: best of {len(tuned.grid)} settings" if tuned else "as given"
    lines = [f"lambda {found.weight:g}, length weight {found.length_weight:g} ({how})"]
    lines.append(f"scores: {args.scores}, natural logarithms")
    if tuned and found.weight == max(args.lambda_grid) > 0:
        lines.append("the best lambda is the largest one tried: widen --lambda-grid")
    return lines


def as_json(args: argparse.Namespace, rows: List[Row], found: Found, signature: Optional[str]) -> Dict[str, Any]:
    """The same as plain data, with the whole grid."""
    names = "engine path backward_path gen_subset tune_subset nbest_file tune_nbest_file scores beam nbest lenpen"
    grid = found.tuned.grid if found.tuned else ()
    return {
        "version": fairseq_ami.__version__,
        "settings": {
            name: getattr(args, name) for name in [*names.split(), "sampling", "mbr", "latent_noise_draws", "seed"]
        },
        "lambda": found.weight,
        "length_weight": found.length_weight,
        "tuned": found.tuned is not None,
        "grid": [dict(zip(("lambda", "length_weight", "bleu"), point)) for point in grid],
        "results": [asdict(row) for row in rows],
        "signature": signature,
    }
