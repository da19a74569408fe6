"""Options of ``fairseq-ami vae-sample``."""

import argparse

from fairseq_ami.choices import DECODINGS
from fairseq_ami.cli.arguments import above_zero, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        help="checkpoint, exported folder or archive of a text VAE, or name of a registered one; for --prior also of "
        "an LSTM language model",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="binarised data with the training's dictionary; sentences are then words separated by blanks (default: "
        "the data of the training, or the dictionary and tokenizer of an export)",
    )
    wanted = parser.add_argument_group("what to make; several at once are possible")
    wanted.add_argument("--prior", type=positive, metavar="N", help="N sentences for z from the standard normal prior")
    wanted.add_argument("--reconstruct", metavar="WHERE", help=f"decode the posterior mean of sentences in {_WHERE}")
    wanted.add_argument(
        "--samples", type=positive, metavar="K", help="with --reconstruct, decode K samples of each posterior as well"
    )
    wanted.add_argument("--interpolate", nargs=2, action="append", metavar=("A", "B"), help=_INTERPOLATE)
    wanted.add_argument(
        "--steps",
        type=positive,
        default=5,
        metavar="N",
        help="points per line of --interpolate, ends included (default: 5)",
    )
    wanted.add_argument(
        "--neighbours", metavar="WHERE", help="find the sentences of --subset that are nearest to those in WHERE"
    )
    wanted.add_argument("--top", type=positive, default=3, metavar="N", help="neighbours per sentence (default: 3)")
    wanted.add_argument("--subset", default="train", help="split in which --neighbours looks (default: train)")
    words = parser.add_argument_group("decoding")
    words.add_argument("--decoding", choices=DECODINGS, default="greedy", help="how words are chosen (default: greedy)")
    words.add_argument(
        "--temperature", type=above_zero, metavar="T", help="number that divides the logits of --decoding sample"
    )
    words.add_argument(
        "--topk", type=positive, metavar="K", help="draw from the K likeliest words in --decoding sample"
    )
    words.add_argument(
        "--topp",
        type=above_zero,
        metavar="P",
        help="draw from the likeliest words of probability P in --decoding sample",
    )
    words.add_argument("--beam", type=positive, metavar="N", help="width of --decoding beam (default: 5)")
    words.add_argument(
        "--lenpen", type=float, metavar="X", help="--decoding beam ranks by log-likelihood / tokens^X (default: 1)"
    )
    words.add_argument("--no-unk", action="store_true", help="never generate <unk>")
    words.add_argument("--max-len", type=positive, metavar="N", help="most words per sentence (default: the model's)")
    words.add_argument("--seed", type=int, default=1, help="seed of z and of sampled words (default: 1)")
    machine = parser.add_argument_group("machine and output")
    machine.add_argument(
        "--batch-size", type=positive, default=1024, metavar="N", help="sentences per batch (default: 1024)"
    )
    machine.add_argument("--bf16", action="store_true", help=_BF16_HELP)
    machine.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    machine.add_argument("--markdown", action="store_true", help="print tables for a document")
    machine.add_argument("--json", metavar="FILE", help="write everything to FILE as well")
    machine.add_argument("--output", metavar="FILE", help="write the sentences of --prior to FILE, one per line")


_WHERE = "a text file, '-' (stdin), or lines of a split such as test:1,4-6"


_INTERPOLATE = "decode points on the line between the posterior means of two sentences; may be repeated"


_BF16_HELP = (
    "compute the decoder in bfloat16: faster where the machine computes in it; other samples of the same quality"
)
