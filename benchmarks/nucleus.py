"""The nucleus of top-p sampling, found among the likeliest symbols, against ordering the whole vocabulary.

    python benchmarks/nucleus.py [--vocabulary 6048] [--rows 280 3000] [--topp 0.9] [--rounds 9]

Rows of normal logits with standard deviation 4 (a decided network: 56 symbols hold 0.9, 170 at most). Both give the
same nucleus, which is checked; medians of rounds in which they take turns.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Callable, List

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairseq_ami.generation.policy import Policy  # noqa: E402


def whole_order(logits: Tensor, topp: float) -> Tensor:
    """Log-probabilities of the nucleus, the obvious way."""
    ordered, index = logits.sort(dim=-1, descending=True)
    probability = ordered.softmax(dim=-1)
    outside = probability.cumsum(-1) - probability >= topp
    cut = torch.zeros_like(outside).scatter(-1, index, outside)
    return logits.masked_fill(cut, float("-inf")).log_softmax(-1)


def seconds(call: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(argv: List[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=6048)
    parser.add_argument("--rows", type=int, nargs="+", default=[280, 3000])
    parser.add_argument("--topp", type=float, default=0.9)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = Policy(banned=(), topp=args.topp)
    print("rows\there ms\twhole order ms\tratio")
    for rows in args.rows:
        logits = 4 * torch.randn(rows, args.vocabulary)
        if not torch.equal(policy.log_probs(logits), whole_order(logits, args.topp)):
            raise SystemExit("the two nuclei differ")
        systems = (lambda: policy.log_probs(logits), lambda: whole_order(logits, args.topp))
        here, order = (
            statistics.median(times) for times in zip(*([seconds(s) for s in systems] for _ in range(args.rounds)))
        )
        print(f"{rows}\t{1000 * here:.1f}\t{1000 * order:.1f}\t{order / here:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
