"""Options of ``fairseq-ami rerank``."""

import argparse
from typing import Tuple

from fairseq import options
from sacrebleu.metrics import BLEU

from fairseq_ami.choices import ENGINES, MBR_WEIGHTS, RERANKING_SCORES
from fairseq_ami.cli.arguments import number

TASKS = ("ami_translation", "ami_dialog")


DEFAULT_GRID = "0,0.05,0.1,0.15,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1,1.5,2"


SCORES_HELP = (
    "per-token: the search's normalised score + lambda * log Q(S|T')/|S| + gamma * |T'|/|S|; "
    "sum: log P + lambda * log Q + gamma * |T'|; natural logarithms (default: per-token)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Our own options, then those of fairseq-generate."""
    own = parser.add_argument_group("reranking")
    own.add_argument("data", help="binarised data, as for fairseq-generate")
    own.add_argument("-s", "--source-lang", help="source language")
    own.add_argument("-t", "--target-lang", help="target language")
    task_help = "task of the search (default: ami_dialog for dialogues, hist -> reply; else ami_translation)"
    own.add_argument("--task", choices=TASKS, help=task_help)
    own.add_argument("--backward-path", help="checkpoint of Q(S|T) (default: the pair's own backward network)")
    own.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="library that searches and scores (default: fairseq); ctranslate2 takes folders of fairseq-ami export as "
        "--path and --backward-path",
    )
    own.add_argument("--tune-subset", default="valid", help="split that the weights are tuned on (default: valid)")
    own.add_argument("--scores", choices=RERANKING_SCORES, default=RERANKING_SCORES[0], help=SCORES_HELP)
    grid_help = "to try; 0 is always tried (default: %(default)s)"
    own.add_argument(
        "--lambda-grid", type=grid, default=DEFAULT_GRID, metavar="X,...", help=f"values of lambda {grid_help}"
    )
    own.add_argument(
        "--length-grid",
        type=grid,
        default="0",
        metavar="X,...",
        help=f"values of gamma (--length-grid=-0.1,0.1) {grid_help}",
    )
    own.add_argument("--lambda", dest="weight", type=number, metavar="X", help="use this lambda and tune nothing")
    own.add_argument("--length-weight", type=number, metavar="X", help="use this gamma (default with --lambda: 0)")
    mbr_help = (
        "choose by minimum Bayes risk instead, which needs no Q. It takes the hypothesis of highest mean sentence chrF "
        "against the others of its list. All count equally (uniform, the default of --mbr), or by P(T'|S) (probability)"
    )
    own.add_argument("--mbr", nargs="?", const=MBR_WEIGHTS[0], choices=MBR_WEIGHTS, help=mbr_help)
    own.add_argument(
        "--metric", choices=["bleu"], default="bleu", help="metric that the weights are tuned for (default: bleu)"
    )
    own.add_argument(
        "--bleu-tokenize", choices=sorted(BLEU.TOKENIZERS), default="13a", help="sacreBLEU's tokenizer (default: 13a)"
    )
    own.add_argument("--tokenizer", choices=["moses", "nltk", "space"], help="detokenise before BLEU and output")
    own.add_argument(
        "--nbest-file", help="rerank what fairseq-generate printed for --gen-subset (without --remove-bpe)"
    )
    own.add_argument(
        "--tune-nbest-file", help="tune on what fairseq-generate printed for --tune-subset (without --remove-bpe)"
    )
    own.add_argument("--latent-noise-draws", type=int, default=0, help="search under N draws of the latent noise")
    own.add_argument(
        "--output", required=True, help="file of the reranked hypotheses, one per line in the data's order"
    )
    own.add_argument("--json", help="write settings, grid and scores to this file as JSON")
    add_fairseq_arguments(parser)


def add_fairseq_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of fairseq-generate under the same names, all those of the search among them."""
    options.add_generation_args(parser)
    batches = parser.add_argument_group("batches and machine")
    batches.add_argument("--gen-subset", default="test", help="split that is reranked (default: test)")
    batches.add_argument("--max-tokens", type=int, help="symbols per batch (default: 12000)")
    batches.add_argument("--batch-size", "--max-sentences", type=int, help="sentences per batch")
    batches.add_argument("--num-workers", type=int, default=0, help="processes that load data (default: 0)")
    batches.add_argument("--seed", type=int, default=1, help="seed of sampling and latent noise (default: 1)")
    batches.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    batches.add_argument("--fp16", action="store_true", help="search and score in half precision")
    batches.add_argument("--log-format", choices=["json", "none", "simple", "tqdm"], help="kind of progress bar")
    batches.add_argument("--log-interval", type=int, default=10, help="batches between messages (default: 10)")
    batches.add_argument("--no-progress-bar", action="store_true", help="print messages instead of a progress bar")
    batches.add_argument("--user-dir", help=argparse.SUPPRESS)  # this package is loaded already


def grid(text: str) -> Tuple[float, ...]:
    """Numbers of a comma-separated list, in rising order, 0 among them."""
    return tuple(sorted({0.0, *(number(part) for part in text.split(",") if part.strip())}))
