"""Options of ``fairseq-ami plot``."""

import argparse

from fairseq_ami.cli.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="figure", metavar="figure", required=True)
    curves = kinds.add_parser("training", help="metrics over updates, from logs of fairseq-train")
    curves.add_argument("log", nargs="+", help="logs that fairseq-train printed, with --log-format simple or json")
    curves.add_argument(
        "--metrics", required=True, metavar="NAME,...", help="metrics to draw, such as kl,mi,au or vim_bound"
    )
    curves.add_argument(
        "--kind", default="valid", help="lines of the log to read: valid (default), train, train_inner, or a split"
    )
    curves.add_argument("--name", nargs="+", metavar="TEXT", help="names of the runs (default: their files)")
    plane = kinds.add_parser("latent", help="posterior means of a split in two dimensions (PCA)")
    plane.add_argument("checkpoint", help="checkpoint of a text VAE")
    plane.add_argument("--data", required=True, metavar="DIR", help="binarised data with the training's dictionary")
    plane.add_argument("--subset", default="valid", help="split to draw (default: valid)")
    plane.add_argument(
        "--labels",
        metavar="FILE",
        help="one label per line of the split, for the colours (default: the sentence's length)",
    )
    plane.add_argument(
        "--max-sentences",
        type=positive,
        default=2000,
        metavar="N",
        help="draw at most N sentences, chosen at random (default: 2000)",
    )
    plane.add_argument("--seed", type=int, default=1, help="seed of the choice of --max-sentences (default: 1)")
    plane.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    for kind in (curves, plane):
        kind.add_argument("--output", metavar="FILE", help="write the figure to FILE: .pdf, .png or .svg")
        kind.add_argument("--table", action="store_true", help="print the numbers (without --output, always)")
