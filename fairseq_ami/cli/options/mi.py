"""Options of ``fairseq-ami mi``."""

import argparse
from typing import List

from fairseq_ami.choices import CRITICS, MI_ESTIMATORS
from fairseq_ami.cli.arguments import above_zero, fraction, positive
from fairseq_ami.tools.information.settings import EstimationSettings

DEFAULTS = EstimationSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = "(default: %(default)s)"
    parser.add_argument("x", metavar="X", help="independent samples, one per row (.npy; .npz or .pt with one array)")
    parser.add_argument("z", metavar="Z", help="other features of the samples in X, in the same order")
    known = f"estimators: {', '.join(MI_ESTIMATORS)}; or all {default}"
    parser.add_argument("--estimator", type=estimators, default="dv,nwj,infonce", metavar="NAME,...", help=known)
    parser.add_argument("--critic", choices=CRITICS, default=DEFAULTS.critic, help=f"kind of critic f(x, z) {default}")
    parser.add_argument(
        "--hidden", type=positive, default=DEFAULTS.hidden, help=f"units per hidden layer of the critic {default}"
    )
    parser.add_argument(
        "--layers", type=positive, default=DEFAULTS.layers, help=f"hidden layers of the critic {default}"
    )
    parser.add_argument(
        "--updates", type=positive, default=DEFAULTS.updates, help=f"updates of the critic's training {default}"
    )
    parser.add_argument("--batch-size", type=positive, default=DEFAULTS.batch_size, help=f"rows per batch {default}")
    parser.add_argument("--lr", type=above_zero, default=DEFAULTS.lr, help=f"learning rate of Adam {default}")
    parts = f"part of the rows kept back: half of it chooses the update, half gives the figure {default}"
    parser.add_argument("--valid-fraction", type=fraction, default=DEFAULTS.valid_fraction, help=parts)
    clip = f"SMILE's bound on the scores of independent pairs, in nats {default}"
    parser.add_argument("--clip", type=above_zero, default=DEFAULTS.clip, help=clip)
    seed = f"seed of the parts, the weights and the batches {default}"
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed, help=seed)
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    parser.add_argument("--json", metavar="FILE", help="write settings and figures to FILE as well")


def estimators(text: str) -> List[str]:
    """The names in a comma-separated list, each once."""
    names = list(MI_ESTIMATORS) if text == "all" else list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in MI_ESTIMATORS:
            raise argparse.ArgumentTypeError(f"unknown {name!r}: choose from {', '.join(MI_ESTIMATORS)}, or all")
    return names
