"""Options of ``fairseq-ami metrics``."""

import argparse
from typing import List

from sacrebleu.metrics import BLEU

from fairseq_ami.choices import CORPUS_METRICS
from fairseq_ami.cli.arguments import at_least

TRIALS = 10000  # sacreBLEU's own default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    texts = parser.add_argument_group("texts", "one a line, words separated by spaces, subwords undone")
    texts.add_argument("--references", required=True, metavar="FILE", help="real replies, one per line")
    help_hypotheses = (
        "replies of the systems; the others are compared with the first. Several runs of a system are one column: "
        "ami:1=FILE ami:2=FILE"
    )
    texts.add_argument("--hypotheses", required=True, nargs="+", metavar="[NAME[:SEED]=]FILE", help=help_hypotheses)
    texts.add_argument("--source", metavar="FILE", help="what the replies answer: adds the copy rates")
    vectors = parser.add_mutually_exclusive_group()
    vectors.add_argument("--vectors", metavar="FILE", help="word vectors of GloVe or word2vec, as text")
    vectors.add_argument("--train-text", metavar="FILE", help="train word vectors on this text (needs gensim)")
    help_vocabulary = (
        "V of the expectation-adjusted distinct: a number of words, or a text whose different words are counted, "
        "such as the training replies (default: the references)"
    )
    parser.add_argument("--vocabulary", metavar="N|FILE", help=help_vocabulary)
    parser.add_argument(
        "--corpus-metrics",
        type=corpus_metrics,
        default="bleu",
        metavar="NAME,...",
        help=f"sacreBLEU's metrics to measure: {', '.join(CORPUS_METRICS)}; bleu always is (default: %(default)s)",
    )
    parser.add_argument(
        "--bootstrap",
        type=at_least(0),
        default=1000,
        metavar="N",
        help="sets that the bootstrap resamples for the intervals; 0 for none (default: 1000)",
    )
    parser.add_argument(
        "--trials",
        type=at_least(0),
        metavar="N",
        help=f"trials of the approximate randomisation, which tests each system against the first; 0 for no test "
        f"(default: {TRIALS})",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of bootstrap, test and --train-text; sacreBLEU's test takes SACREBLEU_SEED (default: 1)",
    )
    parser.add_argument(
        "--bleu-tokenize", choices=sorted(BLEU.TOKENIZERS), default="13a", help="sacreBLEU's tokenizer (default: 13a)"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything to FILE as well")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to FILE as well")


def corpus_metrics(text: str) -> List[str]:
    """The names in a comma-separated list, each once; BLEU is always among them."""
    names = [name for name in CORPUS_METRICS if name == "bleu" or name in text.split(",")]
    for name in text.split(","):
        if name not in CORPUS_METRICS:
            raise argparse.ArgumentTypeError(f"unknown {name!r}: choose from {', '.join(CORPUS_METRICS)}")
    return names
