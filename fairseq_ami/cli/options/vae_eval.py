"""Options of ``fairseq-ami vae-eval``."""

import argparse

from fairseq_ami.choices import JUDGED_DECODINGS
from fairseq_ami.cli.arguments import above_zero, at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", nargs="+", help="checkpoints of text VAEs or LSTM language models")
    parser.add_argument("--data", required=True, metavar="DIR", help="binarised data with the training's dictionary")
    parser.add_argument("--subset", default="test", help="split to measure on (default: test)")
    parser.add_argument("--name", nargs="+", metavar="TEXT", help="names of the checkpoints in the table")
    parser.add_argument("--iw-samples", type=at_least(0), default=500, metavar="N", help=_IW_HELP)
    parser.add_argument("--iw-bf16", action="store_true", help=_IW_BF16_HELP)
    parser.add_argument("--mi-batch", type=at_least(2), default=32, metavar="N", help=_BATCH_HELP)
    gaps = parser.add_argument_group("why -ELBO is above the exact figure")
    gaps.add_argument("--svi-steps", type=at_least(0), default=0, metavar="N", help=_SVI_HELP)
    gaps.add_argument(
        "--svi-rate",
        type=above_zero,
        default=0.05,
        metavar="X",
        help="rate of the first of --svi-steps (default: 0.05)",
    )
    gaps.add_argument(
        "--svi-sentences",
        type=at_least(0),
        default=500,
        metavar="N",
        help="sentences of each split that --svi-steps takes, at random; 0: all (default: 500)",
    )
    gaps.add_argument("--svi-against", default="train", metavar="SPLIT", help=_AGAINST_HELP)
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


_IW_BF16_HELP = (
    "compute the decoder in bfloat16 for these samples only: about twice as fast where the machine computes in it; on "
    "Penn Treebank the mean moved by .001 nats"
)
_IW_HELP = "samples of the importance-weighted likelihood, the slowest part; 0: none (default: 500)"


_SVI_HELP = (
    "optimise the posterior of each sentence by N steps of Adam, and split -ELBO minus IW-NLL into what the encoder "
    "and what the Gaussian loses; 0: do not (default: 0)"
)


_AGAINST_HELP = (
    "split whose gaps are put beside those of --subset with --svi-steps: the training text, on which an over-fitted "
    "encoder loses less (default: train)"
)


_BATCH_HELP = "sentences in a batch of mutual information and critic bounds (default: 32)"


_TOKENS_HELP = "sentences x samples x length at a time: less needs less memory (default: 8000)"
