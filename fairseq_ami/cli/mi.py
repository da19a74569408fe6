"""``fairseq-ami mi``: mutual information between two files of features."""

import argparse
import json
import math
import os
from dataclasses import asdict
from functools import partial
from typing import Dict, List, Tuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fairseq_ami.cli.arguments import above_zero, fraction, positive
from fairseq_ami.errors import AMIError
from fairseq_ami.files import write_text
from fairseq_ami.modules.critics import CRITICS
from fairseq_ami.tools.information.estimation import ESTIMATORS, Estimate, EstimationSettings, estimate, part_sizes

DEFAULTS = EstimationSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = "(default: %(default)s)"
    parser.add_argument("x", metavar="X", help="independent samples, one per row (.npy; .npz or .pt with one array)")
    parser.add_argument("z", metavar="Z", help="other features of the samples in X, in the same order")
    known = f"estimators: {', '.join(ESTIMATORS)}; or all {default}"
    parser.add_argument("--estimator", type=estimators, default="dv,nwj,infonce", metavar="NAME,...", help=known)
    parser.add_argument(
        "--critic", choices=list(CRITICS), default=DEFAULTS.critic, help=f"kind of critic f(x, z) {default}"
    )
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
    names = list(ESTIMATORS) if text == "all" else list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in ESTIMATORS:
            raise argparse.ArgumentTypeError(f"unknown {name!r}: choose from {', '.join(ESTIMATORS)}, or all")
    return names


def run(args: argparse.Namespace) -> int:
    if args.json and (os.path.isdir(args.json) or not os.path.isdir(os.path.dirname(args.json) or ".")):
        raise AMIError(f"cannot write {args.json}: it is a folder, or its folder does not exist")
    x, z = read_features(args.x), read_features(args.z)
    check_rows(args, len(x), len(z))
    if torch.cuda.is_available() and not args.cpu:
        x, z = x.cuda(), z.cuda()
    names = EstimationSettings.__dataclass_fields__
    settings = EstimationSettings(**{name: getattr(args, name) for name in names})
    sizes = part_sizes(len(x), settings.valid_fraction)
    print("{} rows: {} to train, {} to choose the update, {} for the figure".format(len(x), *sizes))
    print(f"x: {x.size(1)} columns, z: {z.size(1)} columns, critic: {settings.critic}")
    print("estimator\tnats\tupdate\tnote")
    found = {}
    for name in args.estimator:
        progress = partial(tqdm, desc=name, leave=False, disable=None)  # None: on a terminal only
        found[name] = estimate(name, x, z, settings, progress)
        print(f"{name}\t{found[name].nats:.4f}\t{found[name].update}\t{note(name, found[name], settings)}", flush=True)
    if args.json:
        write_text(args.json, as_json(args, settings, sizes, found))
    return 0


def note(name: str, result: Estimate, settings: EstimationSettings) -> str:
    """What one has to know about a figure."""
    notes = {
        "infonce": f"cannot exceed log N = {result.cap:.4f}" if result.cap else "",
        "js": "NWJ at the Jensen-Shannon critic",
        "smile": f"clip {settings.clip:g}; an estimate, no bound",
    }
    parts = [notes.get(name, "")]
    if result.diverged:
        parts.append(f"training diverged at update {result.diverged}: lower --lr")
    return "; ".join(filter(None, parts))


def as_json(
    args: argparse.Namespace, settings: EstimationSettings, sizes: Tuple[int, ...], found: Dict[str, Estimate]
) -> str:
    """Settings and figures; a figure that is not finite, which JSON cannot hold, is null."""
    results = {name: asdict(result) for name, result in found.items()}
    for result in results.values():
        result["nats"] = result["nats"] if math.isfinite(result["nats"]) else None
    parts = dict(zip(("train", "choose", "report"), sizes))
    data = {"x": args.x, "z": args.z, "rows": parts, "settings": asdict(settings), "results": results}
    return json.dumps(data, indent=2) + "\n"


def check_rows(args: argparse.Namespace, x_rows: int, z_rows: int) -> None:
    """There are as many rows in both, and enough of them.

    Raises:
        AMIError: they are not.
    """
    if x_rows != z_rows:
        raise AMIError(f"{args.x} has {x_rows} rows and {args.z} has {z_rows}: row i of both must be the same sample")
    train, choose, _ = part_sizes(x_rows, args.valid_fraction)
    if args.batch_size < 2 or train < args.batch_size:
        raise AMIError(
            f"{args.x} has {x_rows} rows, which leaves {train} to train on: --batch-size {args.batch_size} must lie "
            "between 2 and that"
        )
    if choose < 2:
        raise AMIError(
            f"{args.x} has {x_rows} rows and --valid-fraction {args.valid_fraction:g} keeps {x_rows - train} of them "
            "back: at least 4 are needed there"
        )


def read_features(path: str) -> Tensor:
    """The array of a file, one sample a row; an array of one axis is one column.

    Returns:
        float64, shape (rows, columns).

    Raises:
        AMIError: missing, unreadable, not one array of finite real numbers with one or two axes.
    """
    values = _load(path)
    if values.dtype.kind not in "biuf":
        raise AMIError(f"{path} holds values of type {values.dtype}, not real numbers")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0:
        raise AMIError(f"{path} holds an array of shape {values.shape}: it must be (rows, columns), and not empty")
    values = values.astype(np.float64)
    bad = ~np.isfinite(values).all(1)
    if bad.any():
        raise AMIError(f"{path} has NaN or infinite values in {bad.sum()} rows, first in row {bad.argmax()} (from 0)")
    return torch.from_numpy(values)


def _load(path: str) -> np.ndarray:
    """The one array of a file; nothing that could run code is read."""
    if not os.path.isfile(path):
        raise AMIError(f"there is no file {path}")
    try:
        if path.endswith((".pt", ".pth")):
            tensor = torch.load(path, map_location="cpu", weights_only=True)
            return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            (name,) = found.files
            return found[name]
    except Exception as error:  # a damaged file can fail in any way
        raise AMIError(
            f"{path} cannot be read as one array of numbers: save it with numpy.save or torch.save "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        ) from error
