"""Options of ``fairseq-ami translate``."""

import argparse

from fairseq_ami.choices import DIRECTIONS, ENGINES, TOKENIZERS
from fairseq_ami.cli.arguments import above_zero, at_least, number, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        help="checkpoint, exported folder or archive, folder of --format ctranslate2, or name of a registered network "
        "(fairseq-ami networks lists them)",
    )
    parser.add_argument("input", nargs="?", default="-", help="file with one sentence per line (default: stdin)")
    parser.add_argument("--output", metavar="FILE", help="write the translations here (default: stdout)")
    parser.add_argument("--direction", choices=DIRECTIONS, help="network of a pair that translates (default: forward)")
    parser.add_argument("--engine", choices=ENGINES, help="library that computes (default: what MODEL was made for)")
    _add_text(parser)
    _add_search(parser)
    _add_reranking(parser)
    _add_machine(parser)


def _add_text(parser: argparse.ArgumentParser) -> None:
    text = parser.add_argument_group("text and output")
    text.add_argument("--data", metavar="DIR", help="folder of the dictionaries (default: MODEL's own)")
    text.add_argument("--bpe-codes", metavar="FILE", help="codes of subword-nmt, if MODEL brings none")
    text.add_argument("--tokenizer", choices=TOKENIZERS, help="tokenisation of the training text, if MODEL names none")
    text.add_argument(
        "--scores",
        action="store_true",
        help="print tab-separated columns: line number, score, log P(T'|S), with --lambda log Q(S|T'), text; "
        "natural logarithms",
    )
    text.add_argument("--json", action="store_true", help="print one JSON object per line of input")


def _add_search(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("search and sampling")
    search.add_argument("--beam", type=positive, default=5, help="width of the beam (default: 5)")
    search.add_argument("--nbest", type=positive, default=1, help="hypotheses per line of input (default: 1)")
    search.add_argument("--lenpen", type=number, default=1.0, help="exponent of the length in the score (default: 1)")
    search.add_argument(
        "--max-len-a", type=number, default=0.0, help="symbols of output allowed per symbol of input (default: 0)"
    )
    search.add_argument(
        "--max-len-b", type=positive, default=200, help="symbols of output allowed besides (default: 200)"
    )
    search.add_argument("--min-len", type=positive, default=1, help="fewest symbols of output (default: 1)")
    search.add_argument(
        "--no-repeat-ngram-size", type=at_least(0), default=0, metavar="N", help="write no N words in a row twice"
    )
    search.add_argument("--sampling", action="store_true", help="draw --nbest samples instead of searching")
    search.add_argument(
        "--sampling-topk",
        type=at_least(0),
        default=0,
        metavar="K",
        help="draw from the K likeliest words (default: all)",
    )
    search.add_argument(
        "--sampling-topp",
        type=number,
        default=1.0,
        metavar="P",
        help="draw from the likeliest words that hold P (default: 1)",
    )
    search.add_argument(
        "--temperature", type=above_zero, default=1.0, help="divisor of the logits in a draw (default: 1)"
    )
    search.add_argument("--noise", action="store_true", help="add latent noise to each sample of a pair (equation 14)")
    search.add_argument("--seed", type=int, default=1, help="seed of the samples (default: 1)")


def _add_reranking(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reranking by the backward network")
    group.add_argument(
        "--lambda",
        dest="weight",
        type=number,
        metavar="X",
        help="order the hypotheses by score + X * log Q(S|T') / |S|; fairseq-ami rerank tunes X",
    )
    group.add_argument(
        "--length-weight", type=number, metavar="X", help="add X * |T'| / |S| to that order (default: 0)"
    )
    group.add_argument("--backward", metavar="MODEL", help="network Q(S|T) (default: the pair's own)")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    machine = parser.add_argument_group("batches and machine")
    machine.add_argument("--batch-size", type=positive, help="sentences per batch (default: by the number of words)")
    machine.add_argument(
        "--buffer-size",
        type=positive,
        default=1000,
        help="lines that are read before they are translated (default: 1000)",
    )
    machine.add_argument("--threads", type=positive, help="CPU threads (default: the library decides)")
    machine.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    machine.add_argument("--fp16", action="store_true", help="compute in half precision with fairseq")
    machine.add_argument("--verbose", action="store_true", help="show the messages of fairseq")
