"""``fairseq-ami bound``: VIM bounds and real-minus-synthetic gaps of trained pairs, side by side."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Iterable, Optional

from fairseq import checkpoint_utils
from fairseq.logging import progress_bar

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.cli.texts import read_lines
from fairseq_ami.errors import AMIError
from fairseq_ami.files import write_text
from fairseq_ami.metrics.decoded import vectors_of_words
from fairseq_ami.metrics.word_vectors import train_vectors
from fairseq_ami.models import PairedModel
from fairseq_ami.plugin import register
from fairseq_ami.tools.information.bounds import measure, table
from fairseq_ami.tools.information.reconstruction import Reconstruction
from fairseq_ami.types import Batch

if TYPE_CHECKING:
    from fairseq_ami.tasks.ami_translation import AMITranslation


def run(args: argparse.Namespace) -> int:
    register()
    named = [entry.split("=", 1) if "=" in entry else [entry, entry] for entry in args.path]
    if not os.path.isdir(args.data):
        raise AMIError(f"there is no folder {args.data}")
    task = pair_task(args, named[0][1])
    task.load_dataset(args.subset)
    common, frozen = (load_pair(path, task) if path else None for path in (args.common_q, args.frozen_samples))
    likeness = _likeness(args, task)
    rows = {}
    for name, path in named:
        pair = load_pair(path, task)
        batches, separators = _batches(task, args, name), getattr(task, "separators", ())
        dictionary = task.target_dictionary
        rows[name] = measure(pair, batches, dictionary, args.seed, common, frozen, separators, likeness)
    for line in table(rows):
        print("\t".join(line))
    if likeness is not None:
        print(f"likeness: embedding average, word vectors {likeness.vectors.name}")
    if args.json:
        found = {name: row.as_dict() for name, row in rows.items()}
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    return 0


def _likeness(args: argparse.Namespace, task: "AMITranslation") -> Optional[Reconstruction]:
    """Embedding averages of the backward network's output, if word vectors were named."""
    if not (args.vectors or args.train_text):
        return None
    if args.vectors:
        vectors = vectors_of_words(args.vectors, task.source_dictionary, args.remove_bpe)
    else:
        sentences = [line.split() for line in read_lines(args.train_text)]
        vectors = train_vectors(sentences, args.train_text, seed=args.seed)
    return Reconstruction(task, vectors, args.beam, args.remove_bpe)


def pair_task(args: argparse.Namespace, path: str) -> "AMITranslation":
    """The task of the first checkpoint over this data."""
    state = read_checkpoint(path, "--path", lazily=True)
    pair = part_of(state, "model").get("pair_languages")
    if pair is None:
        raise AMIError(f"{path} is no checkpoint of a pair of networks")
    overrides = {
        "data": args.data,
        "source_lang": args.source_lang or pair[0],
        "target_lang": args.target_lang or pair[1],
        "eval_bleu": False,
    }
    return checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=overrides)[2]


def load_pair(path: str, task: "AMITranslation") -> PairedModel:
    """A paired model in eval mode.

    Raises:
        AMIError: unreadable, not a pair, or a pair without a backward network.
    """
    read_checkpoint(path, "--path", lazily=True)
    models, _ = checkpoint_utils.load_model_ensemble([path], task=task)
    if not isinstance(models[0], PairedModel) or models[0].direction != "forward":
        raise AMIError(f"{path} is no pair of networks in the direction of -s and -t")
    if models[0].backward_model is None:
        raise AMIError(f"{path} has no backward network, whose bound this is: it was trained without one")
    return models[0].eval()


def _batches(task: "AMITranslation", args: argparse.Namespace, name: str) -> Iterable[Batch]:
    iterator = task.get_batch_iterator(task.dataset(args.subset), max_tokens=args.max_tokens).next_epoch_itr(
        shuffle=False
    )
    return progress_bar.progress_bar(iterator, log_format="tqdm" if sys.stderr.isatty() else "none", prefix=name)
