"""Keep the training pairs of a reasonable length and ratio of lengths, in tokens.

    python filter_pairs.py PREFIX OUTPUT_PREFIX --languages en de [--max-length 250] [--max-ratio 1.5] [--dedup]

A pair is dropped if a side is empty or longer than the limit, or if one side has more than `--max-ratio` times the
tokens of the other. Prints how many pairs were read and kept.
"""

import argparse
import contextlib
import hashlib
import sys
from typing import Iterable, Iterator, Set, Tuple

Pair = Tuple[str, str]


def kept(pairs: Iterable[Pair], max_length: int, max_ratio: float, dedup: bool) -> Iterator[Pair]:
    """The pairs of token lines that stay, in their order."""
    seen: Set[bytes] = set()
    for pair in pairs:
        short, long = sorted(len(line.split()) for line in pair)
        if short == 0 or long > max_length or long > max_ratio * short:
            continue
        if dedup:
            key = hashlib.blake2b("\n".join(pair).encode(), digest_size=8).digest()  # 8 bytes a pair, not the text
            if key in seen:
                continue
            seen.add(key)
        yield pair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", help="prefix of the two files to read")
    parser.add_argument("output", help="prefix of the two files to write")
    parser.add_argument("--languages", nargs=2, required=True, metavar="LANG", help="endings of the files")
    parser.add_argument("--max-length", type=int, default=250, metavar="N", help="most tokens on a side")
    parser.add_argument("--max-ratio", type=float, default=1.5, metavar="R", help="most tokens of one side per other")
    parser.add_argument("--dedup", action="store_true", help="leave out pairs that were there before")
    args = parser.parse_args()
    names = [f"{args.input}.{language}" for language in args.languages]
    outputs = [f"{args.output}.{language}" for language in args.languages]
    count = written = 0
    with contextlib.ExitStack() as files:
        # a news text holds other separators of lines, which are none here
        first, second = (files.enter_context(open(name, encoding="utf-8", newline="\n")) for name in names)
        one, two = (files.enter_context(open(name, "w", encoding="utf-8", newline="\n")) for name in outputs)

        def counted() -> Iterator[Pair]:
            nonlocal count
            for pair in zip(first, second, strict=True):
                count += 1
                yield pair

        for source, target in kept(counted(), args.max_length, args.max_ratio, args.dedup):
            one.write(source)
            two.write(target)
            written += 1
    print(f"{count} pairs, {written} kept", file=sys.stderr)
    if written == 0:
        sys.exit(f"filter_pairs.py: no pair of {args.input} is left")


if __name__ == "__main__":
    main()
