"""The `fairseq-ami` command.

A verb is a module of this folder with `run(args) -> int`, and one of the same name in `options` with
`add_arguments(parser)`. The first may import torch and fairseq, the second must not: `--help` would wait for them.
In this command the package registers nothing by itself: a verb that reads checkpoints calls
:func:`fairseq_ami.plugin.register`.
"""

import argparse
import importlib
import os
import sys
from types import ModuleType
from typing import Optional, Sequence

from fairseq_ami.errors import AMIError
from fairseq_ami.version import __version__

PROG = "fairseq-ami"

# Verb -> its line in --help. The lines stand here so that only the options of the chosen verb are imported.
VERBS = {
    "user-dir": "print the folder to give to --user-dir",
    "networks": "the trained networks that can be named instead of a path, and their cards",
    "translate": "translate text with a pair or a single network: n-best lists, samples, reranking, scores",
    "export": "write a trained network for fairseq, CTranslate2 or Hugging Face transformers",
    "average": "average the parameters of several checkpoints",
    "bound": "VIM bounds and real-minus-synthetic gaps of trained pairs",
    "dialog-prepare": "training data of dialogues: histories and replies, tokenised and binarised",
    "mi": "mutual information between two files of features, by critics trained on them",
    "metrics": "text metrics of replies and translations, with tests: word vectors, diversity, BLEU, chrF, TER",
    "human-eval": "blind pairs of replies for human judges, and their wins, losses, ties and agreement",
    "adversarial-eval": "how often replies pass for human ones before a discriminator, which is tested itself",
    "compare": "histories with the replies of all systems, side by side",
    "rerank": "rerank an n-best list by forward score, backward score and length, or by minimum Bayes risk",
    "reward-ceiling": "what a reward could give: which of a source's samples it would pick, beside beam search",
    "vae-eval": "likelihood, latent metrics and perplexities of generated text of text VAEs",
    "vae-sample": "text from a text VAE: prior samples, reconstructions, interpolations, nearest neighbours",
    "plot": "figures: metrics of training logs, posterior means of a text VAE",
}

EXIT_USER_ERROR = 2  # as argparse does for a wrong command line
EXIT_INTERRUPTED = 130  # 128 + SIGINT and 128 + SIGPIPE, as a shell reports them
EXIT_BROKEN_PIPE = 141


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one verb; returns the exit code. What the user can mend is one message on stderr, without a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        args = build_parser(argv[0] if argv else None).parse_args(argv)
        code = args.run(args)
        sys.stdout.flush()  # so that a closed pipe is met here, not while the interpreter shuts down
        return int(code or 0)
    except AMIError as error:
        print(f"{PROG}: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `... | head` is no error. Nothing more can be written, and the flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def build_parser(verb: Optional[str]) -> argparse.ArgumentParser:
    """The parser that knows all verbs by name, and the options of `verb` only."""
    parser = argparse.ArgumentParser(prog=PROG, description="Tools around fairseq_ami checkpoints.")
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="verb", required=True)
    for name, line in VERBS.items():
        subparser = subparsers.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".")
        if name == verb:
            _module("options", name).add_arguments(subparser)
            subparser.set_defaults(run=lambda args: _module(verb).run(args))
    return parser


def _module(*path: str) -> ModuleType:
    return importlib.import_module(".".join((__name__, *path)).replace("-", "_"))
