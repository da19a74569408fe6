"""Options of ``fairseq-ami vae-eval``."""

import argparse

from fairseq_ami.choices import JUDGED_DECODINGS
from fairseq_ami.cli.arguments import at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", nargs="+", help="checkpoints of text VAEs or LSTM language models")
    parser.add_argument("--data", required=True, metavar="DIR", help="binarised data with the training's dictionary")
    parser.add_argument("--subset", default="test", help="split to measure on (default: test)")
    parser.add_argument("--name", nargs="+", metavar="TEXT", help="names of the checkpoints in the table")
    parser.add_argument("--iw-samples", type=at_least(0), default=500, metavar="N", help=_IW_HELP)
    parser.add_argument("--mi-batch", type=at_least(2), default=32, metavar="N", help=_BATCH_HELP)
    text = parser.add_argument_group("generated text")
    text.add_argument("--no-generation", action="store_true", help="leave out FPPL and RPPL")
    text.add_argument(
        "--samples",
        type=at_least(1),
        default=100_000,
        metavar="N",
        help="sentences that are generated (default: 100000)",
    )
    text.add_argument(
        "--decoding",
        nargs="+",
        choices=list(JUDGED_DECODINGS),
        default=list(JUDGED_DECODINGS),
        help="how text is generated (default: both)",
    )
    text.add_argument(
        "--max-len", type=at_least(1), metavar="N", help="most words per generated sentence (default: the model's)"
    )
    text.add_argument("--kenlm", metavar="DIR", help="folder of lmplz and query (default: $KENLM_BIN, the PATH)")
    machine = parser.add_argument_group("machine and output")
    machine.add_argument("--max-tokens", type=at_least(1), default=8000, metavar="N", help=_TOKENS_HELP)
    machine.add_argument("--seed", type=int, default=1, help="seed of all samples (default: 1)")
    machine.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    machine.add_argument("--json", metavar="FILE", help="write the figures to FILE as well, after each checkpoint")


_IW_HELP = "samples of the importance-weighted likelihood, the slowest part; 0: none (default: 500)"


_BATCH_HELP = "sentences in a batch of mutual information and critic bounds (default: 32)"


_TOKENS_HELP = "sentences x samples x length at a time: less needs less memory (default: 8000)"
