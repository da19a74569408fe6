"""Options of ``fairseq-ami adversarial-eval``."""

import argparse

from fairseq_ami.cli.arguments import above_zero, at_least, positive
from fairseq_ami.cli.options.human_eval import add_texts
from fairseq_ami.tools.replies.evaluator_settings import EvaluatorSettings

DEFAULTS = EvaluatorSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = "(default: %(default)s)"
    add_texts(parser)
    parser.add_argument("--references", required=True, metavar="FILE", help="human replies, one per line")
    parser.add_argument(
        "--embed-dim", type=positive, default=DEFAULTS.embed_dim, help=f"size of the evaluator's word vectors {default}"
    )
    parser.add_argument(
        "--hidden", type=positive, default=DEFAULTS.hidden, help=f"units of the evaluator's GRUs {default}"
    )
    parser.add_argument("--dropout", type=dropout, default=DEFAULTS.dropout, help=f"dropout of the evaluator {default}")
    epochs = f"epochs of an evaluator's training; a tenth of the training half chooses the best one {default}"
    parser.add_argument("--epochs", type=positive, default=DEFAULTS.epochs, help=epochs)
    parser.add_argument(
        "--batch-size", type=positive, default=DEFAULTS.batch_size, help=f"examples per update {default}"
    )
    parser.add_argument("--lr", type=above_zero, default=DEFAULTS.lr, help=f"learning rate of Adam {default}")
    rare = f"words that stand less often in the training half are unknown to the evaluator {default}"
    parser.add_argument("--min-count", type=at_least(1), default=DEFAULTS.min_count, help=rare)
    seed = f"seed of the halves, the random replies and the training {default}"
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed, help=seed)
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    parser.add_argument("--json", metavar="FILE", help="write settings and figures to FILE as well")


def dropout(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} does not lie in [0, 1)")
    return value
