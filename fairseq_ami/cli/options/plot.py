"""Options of ``fairseq-ami plot``."""

import argparse

from fairseq_ami.cli.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="figure", metavar="figure", required=True)
    curves = kinds.add_parser("training", help="metrics over updates, from logs of fairseq-train")
    curves.add_argument("log", nargs="+", help="what fairseq-train printed, with --log-format simple or json")
    curves.add_argument("--metrics", required=True, metavar="NAME,...", help="such as kl,mi,au or vim_bound")
    curves.add_argument("--kind", default="valid", help="lines: valid (default), train, train_inner, or a split")
    curves.add_argument("--name", nargs="+", metavar="TEXT", help="of the runs (default: their files)")
    plane = kinds.add_parser("latent", help="posterior means of a split in two dimensions (PCA)")
    plane.add_argument("checkpoint", help="of a text VAE")
    plane.add_argument("--data", required=True, metavar="DIR", help="binarised data with the training's dictionary")
    plane.add_argument("--subset", default="valid", help="split (default: valid)")
    plane.add_argument("--labels", metavar="FILE", help="one label a line of the split; else the colour is the length")
    plane.add_argument("--max-sentences", type=positive, default=2000, metavar="N", help="at random (default: 2000)")
    plane.add_argument("--seed", type=int, default=1, help="of that choice (default: 1)")
    plane.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    for kind in (curves, plane):
        kind.add_argument("--output", metavar="FILE", help="figure: .pdf, .png or .svg")
        kind.add_argument("--table", action="store_true", help="print the numbers; needs no matplotlib")
