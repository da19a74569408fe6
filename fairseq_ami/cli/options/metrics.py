"""Options of ``fairseq-ami metrics``."""

import argparse

from sacrebleu.metrics import BLEU

from fairseq_ami.cli.arguments import at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    texts = parser.add_argument_group("texts", "one a line, words separated by spaces, subwords undone")
    texts.add_argument("--references", required=True, metavar="FILE", help="real replies, one per line")
    help_hypotheses = "replies of the systems; the others are compared with the first"
    texts.add_argument("--hypotheses", required=True, nargs="+", metavar="[NAME=]FILE", help=help_hypotheses)
    texts.add_argument("--source", metavar="FILE", help="what the replies answer: adds the copy rates")
    vectors = parser.add_mutually_exclusive_group()
    vectors.add_argument("--vectors", metavar="FILE", help="word vectors of GloVe or word2vec, as text")
    vectors.add_argument("--train-text", metavar="FILE", help="train word vectors on this text (needs gensim)")
    parser.add_argument(
        "--bootstrap",
        type=at_least(0),
        default=1000,
        metavar="N",
        help="sets that the bootstrap resamples; 0 for none (default: 1000)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of the bootstrap and of --train-text; sacreBLEU's test takes SACREBLEU_SEED (default: 1)",
    )
    parser.add_argument(
        "--bleu-tokenize", choices=sorted(BLEU.TOKENIZERS), default="13a", help="sacreBLEU's tokenizer (default: 13a)"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything to FILE as well")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables to FILE as well")
