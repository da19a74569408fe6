"""The text metrics of replies against plain Python loops, in one run on one machine.

    python benchmarks/reply_metrics.py [--replies 10000] [--draws 1000] [--dimensions 300]

Replies are random words of a Zipf distribution. The loops do the same the obvious way: a cosine a pair of words, a
corpus counted anew for every resampled set. The loop over resampled sets runs for a few of them and is scaled up.
"""

import argparse
import math
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, List, Sequence, Tuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairseq_ami.metrics.embedding import embedding_scores  # noqa: E402
from fairseq_ami.metrics.word_vectors import WordVectors  # noqa: E402
from fairseq_ami.tools.replies.comparison import compare  # noqa: E402
from fairseq_ami.tools.replies.resampling import column_entropies, draw_times, ngram_matrix  # noqa: E402

VOCABULARY = 8000
LOOPED_DRAWS = 5


def random_replies(count: int, generator: np.random.Generator) -> List[List[str]]:
    """Replies of 3 to 19 words."""
    probabilities = 1 / np.arange(1, VOCABULARY + 1)
    probabilities /= probabilities.sum()
    lengths = generator.integers(3, 20, size=count)
    words = generator.choice(VOCABULARY, size=lengths.sum(), p=probabilities)
    return [[f"w{word}" for word in part] for part in np.split(words, np.cumsum(lengths)[:-1])]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    norms = math.sqrt(first @ first) * math.sqrt(second @ second)
    return float(first @ second) / norms if norms else 0.0


def looped_embedding(replies: Sequence[List[str]], references: Sequence[List[str]], vectors: WordVectors) -> np.ndarray:
    """Average, greedy and extrema, one pair of texts after the other; shape (3, replies)."""
    rows = []
    for texts in zip(replies, references):
        one, two = ([vectors.matrix[row] for row in vectors.rows(words)] for words in texts)
        best = [[max(cosine(a, b) for b in other) for a in side] for side, other in ((one, two), (two, one))]
        extremes = [np.array([max(column, key=abs) for column in zip(*side)]) for side in (one, two)]
        greedy = (sum(best[0]) / len(one) + sum(best[1]) / len(two)) / 2
        rows.append((cosine(sum(one), sum(two)), greedy, cosine(*extremes)))
    return np.array(rows).T


def looped_diversity(replies: Sequence[List[str]], times: np.ndarray) -> np.ndarray:
    """Distinct bigrams and 4-gram entropy of every resampled set, counted anew; shape (2, sets)."""
    rows = []
    for counts in times.tolist():
        pairs, fours = Counter(), Counter()
        for words, count in zip(replies, counts):
            for _ in range(count):
                pairs.update(zip(words, words[1:]))
                fours.update(zip(words, words[1:], words[2:], words[3:]))
        total = sum(fours.values())
        rows.append((len(pairs), sum(count * math.log(total / count) for count in fours.values()) / total))
    return np.array(rows).T


def fast_diversity(replies: Sequence[List[str]], draws: int) -> np.ndarray:
    """The same for *draws* sets."""
    pairs, fours = ngram_matrix(replies, 2), ngram_matrix(replies, 4)
    parts = [
        (np.count_nonzero(pairs @ times.T, axis=0), column_entropies(fours @ times.T))
        for times in draw_times(len(replies), draws, seed=1)
    ]
    return np.concatenate(parts, axis=1)


def timed(function: Callable[[], Any]) -> Tuple[Any, float]:
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=10000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=300)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    replies, references, sources = (random_replies(args.replies, generator) for _ in range(3))
    matrix = generator.normal(size=(VOCABULARY, args.dimensions))
    vectors = WordVectors({f"w{word}": word for word in range(VOCABULARY)}, matrix, "random")

    fast, fast_time = timed(lambda: embedding_scores(replies, references, vectors))
    slow, slow_time = timed(lambda: looped_embedding(replies, references, vectors))
    np.testing.assert_allclose(fast, slow, atol=1e-10)
    rows = [("average, greedy, extrema", fast_time, slow_time)]

    fast, fast_time = timed(lambda: fast_diversity(replies, args.draws))
    times = next(draw_times(args.replies, args.draws, seed=1))[:LOOPED_DRAWS]
    slow, slow_time = timed(lambda: looped_diversity(replies, times))
    np.testing.assert_allclose(fast[:, : len(times)], slow, rtol=1e-10)
    rows.append((f"Dist-2 and Ent-4, {args.draws} draws", fast_time, slow_time * args.draws / len(times)))

    texts = [[" ".join(words) for words in side] for side in (replies, references, sources)]
    _, whole = timed(lambda: compare({"system": {None: texts[0]}}, *texts[1:], vectors, args.draws))

    print(f"{args.replies} replies, {args.dimensions} dimensions; the same figures both ways")
    print(f"{'':<32}{'here':>10}{'loop':>10}{'ratio':>8}")
    for name, here, loop in rows:
        print(f"{name:<32}{here:>8.2f} s{loop:>8.1f} s{loop / here:>7.0f}x")
    print(f"{'everything, one system':<32}{whole:>8.2f} s")


if __name__ == "__main__":
    main()
