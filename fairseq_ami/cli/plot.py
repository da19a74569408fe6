"""``fairseq-ami plot``: figures of training logs and of latent spaces."""

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, List

import torch

from fairseq_ami.cli.texts import read_lines
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.figures import latent, training
from fairseq_ami.tools.figures.canvas import check_path, save

if TYPE_CHECKING:
    from fairseq_ami.data.sentences import SentenceDataset


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    args.table = args.table or not args.output
    if args.output:
        check_path(args.output)
    return plot_training(args) if args.figure == "training" else plot_latent(args)


def plot_training(args: argparse.Namespace) -> int:
    """Metrics over updates.

    Raises:
        AMIError: logs or metrics that are not there.
    """
    names = args.name or run_names(args.log)
    if len(names) != len(args.log):
        raise AMIError(f"--name: {len(names)} names for {len(args.log)} logs")
    runs = [training.read_run(path, args.kind, name) for path, name in zip(args.log, names)]
    metrics = list(dict.fromkeys(filter(None, args.metrics.split(","))))
    if not metrics:
        raise AMIError("--metrics: name at least one")
    training.check_metrics(runs, metrics, args.log, args.kind)
    if args.output:
        save(training.draw(runs, metrics), args.output)
    if args.table:
        print(training.table(runs, metrics))
    return 0


def run_names(paths: List[str]) -> List[str]:
    """File names without ending if they differ, else the whole paths."""
    names = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def plot_latent(args: argparse.Namespace) -> int:
    """Posterior means in two dimensions.

    Raises:
        AMIError: a checkpoint without posterior, or data and labels that do not fit.
    """
    from fairseq_ami.cli.messages import progress_bar
    from fairseq_ami.cli.text_vae import find, load
    from fairseq_ami.data.sentences import SentenceDataset, check_lengths
    from fairseq_ami.tools.text_vae.space import posteriors

    model, task = load(find(args.checkpoint, args.data), args)
    if model.encoder is None:
        raise AMIError(f"{args.checkpoint} is a language model: it has no posterior to draw")
    task.load_dataset(args.subset)
    whole: SentenceDataset = task.dataset(args.subset)
    labels = read_labels(args.labels, whole) if args.labels else None
    check_lengths(model, whole, max(16_000, model.max_positions()))
    means = posteriors(model, whole, 16_000, progress_bar).mean
    projection = latent.principal_components(means)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(args.seed))
    rows = order[: args.max_sentences].sort().values
    shown = latent.Projection(projection.points[rows], projection.explained)
    lines = [int(whole.lines[row]) + 1 for row in rows]
    colours: Any = [labels[line - 1] for line in lines] if labels else [int(whole.lengths[row]) for row in rows]
    if args.output:
        save(latent.draw(shown, colours), args.output)
    if args.table:
        print(latent.table(shown, lines, "label" if labels else "tokens", colours))
    return 0


def read_labels(path: str, dataset: "SentenceDataset") -> List[str]:
    """One label for each line of the split, empty lines included.

    Raises:
        AMIError: unreadable, or another number of lines.
    """
    labels = [line.strip() for line in read_lines(path)]
    lines = len(dataset) + dataset.left_out
    if len(labels) != lines:
        raise AMIError(f"--labels: {path} has {len(labels)} lines, the split has {lines}")
    return labels
