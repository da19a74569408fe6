"""How often the host waits for the device in an update, and where, counted without a device.

    python benchmarks/host_syncs.py [--network transformer|lstm] [--length 8] [--where]

The updates run on the simulated accelerator of the tests, which counts what makes a host wait for CUDA: values that are
read, copies between host and device, and shapes that depend on values. Each wait empties the queue of kernels.
Counts are of this package's own lines, and of fairseq's and others' below and above them, for one micro-batch. The
samples have as many symbols as the option says; their waits grow with it. --where names the lines.
"""

import argparse
import logging
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from accelerator import runs  # noqa: E402
from accelerator.runs import MINE, TRANSLATION, VAE  # noqa: E402
from functional.settings import NETWORKS  # noqa: E402
from functional.vae_settings import LAGGING, LSTM, TRANSFORMER  # noqa: E402

Waits = Dict[Tuple[str, int, str], int]
AMI = ["--criterion", "ami_minimax", "--optimizer", "ami_phased", "--sample-max-len-a", "0"]
INFOMAX = ["--infomax-dim", "4", "--infomax-weight", "0.2"]
CYCLE = "--phase-cycle={}=1000"
AMI_PHASES = {
    "pretrain": ["--pretrain-updates", "1000"],
    "noise": [CYCLE.format("noise")],
    "forward": [CYCLE.format("forward")],
    "forward, top-p": [CYCLE.format("forward"), "--sample-topp", "0.9"],
    "forward, teacher-forced": [CYCLE.format("forward"), "--sampler", "teacher-forced", "--baseline", "running-mean"],
    "backward": [CYCLE.format("backward")],
    "backward, InfoMax": [CYCLE.format("backward"), *INFOMAX],
    "forward, InfoMax": [CYCLE.format("forward"), *INFOMAX],
}
VAES = {"transformer": TRANSFORMER, "lstm": LSTM}
VAE_RUNS = {
    "VAE": [],
    "VAE-MINE": MINE,
    "VAE-MINE, lagging": [*MINE, *LAGGING, "--lagging-interval", "1"],
    "bag of words, word dropout": ["--bow-hidden", "6", "--bow-weight", "0.5", "--word-dropout", "0.3"],
}


def systems(network: str, length: int) -> Iterator[Tuple[str, List[str], bool]]:
    """Name, command line, and whether it takes sentence pairs."""
    for name, flags in AMI_PHASES.items():
        yield name, [*TRANSLATION, *NETWORKS[network], *AMI, "--sample-max-len-b", str(length), *flags], True
    for name, flags in VAE_RUNS.items():
        yield f"text VAE: {name}", [*VAE, *VAES[network], *flags], False


def waits(flags: List[str], pairs: bool) -> Dict[str, Waits]:
    """Of the third update, when all statistics are there, and of a batch of validation."""
    with tempfile.TemporaryDirectory() as folder:
        symbols = runs.dictionary(Path(folder))
        batch = (runs.pairs if pairs else runs.sentences)(symbols)[0]
        with runs.device(True) as accelerator:
            run = runs.trainer(Path(folder), flags, True)
            for _ in range(3):
                accelerator.waits.clear()
                run.train_step([batch])
            found = {"update": dict(accelerator.waits)}
            accelerator.waits.clear()
            run.valid_step(batch)
            found["validation"] = dict(accelerator.waits)
    return found


def is_own(file: str) -> bool:
    return Path(file).is_relative_to(ROOT / "fairseq_ami")


def report(name: str, found: Waits, where: bool) -> None:
    own = {place: count for place, count in found.items() if is_own(place[0])}
    print(f"{name:45} {sum(own.values()):6} {sum(found.values()) - sum(own.values()):8}")
    for (file, line, kind), count in sorted(own.items(), key=lambda item: -item[1]) if where else ():
        print(f"    {count:4}  {Path(file).relative_to(ROOT)}:{line}  {kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=sorted(NETWORKS), default="transformer")
    parser.add_argument("--length", type=int, default=8, metavar="N", help="symbols of the longest sample")
    parser.add_argument("--where", action="store_true", help="name the lines")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"{args.network}\n{'waits of the host in':45} {'ours':>6} {'others':>8}")
    validation: Dict[str, Any] = {}
    for name, flags, pairs in systems(args.network, args.length):
        found = waits(flags, pairs)
        report(name, found["update"], args.where)
        validation["text VAE: validation" if not pairs else "validation"] = found["validation"]
    for name, counted in validation.items():
        report(name, Counter(counted), args.where)


if __name__ == "__main__":
    main()
