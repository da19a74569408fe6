"""``fairseq-ami mi``: mutual information between two files of features."""

import argparse
import json
import math
import os
from dataclasses import asdict
from functools import partial
from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.tools.information.estimation import Estimate, estimate, part_sizes
from fairseq_ami.tools.information.settings import EstimationSettings


def run(args: argparse.Namespace) -> int:
    check_writable(args.json)
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
    """The array of a file, one sample per row; an array of one axis is one column.

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
