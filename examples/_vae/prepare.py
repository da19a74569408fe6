"""Raw sentences -> one file of sentences that a text VAE can be trained on; tells what it left out.

Reads plain text, gzipped text, or SNLI's `.jsonl` (premises and hypotheses in turn).
"""

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Set

from fairseq_ami.files import write_text


def read(path: Path) -> Iterator[str]:
    """Lines of a text file, or sentences of SNLI pairs."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        if path.name.removesuffix(".gz").endswith(".jsonl"):
            for line in lines:
                pair = json.loads(line)
                yield from (pair["sentence1"], pair["sentence2"])
        else:
            yield from lines


def tokenizer(language: str) -> Callable[[str], List[str]]:
    """sacremoses' Moses tokens, without XML escapes."""
    from sacremoses import MosesTokenizer

    moses = MosesTokenizer(lang=language)
    return lambda text: moses.tokenize(text, escape=False)


def same_words(sentence: str) -> str:
    """What two sentences have in common that differ in case, spaces and punctuation only."""
    return "".join(filter(str.isalnum, sentence.lower()))


def prepared(lines: Iterable[str], args: argparse.Namespace, seen: Set[str]) -> Iterator[str]:
    """The sentences to keep; the others are counted on stderr."""
    split = tokenizer(args.tokenize) if args.tokenize else str.split
    empty = long = known = kept = 0
    for line in lines:
        if args.limit and kept == args.limit:
            break
        words = split(line.strip().lower() if args.lower else line.strip())
        if not words:
            empty += 1
        elif len(words) > args.max_words:
            long += 1
        elif seen and same_words(line) in seen:
            known += 1
        else:
            kept += 1
            yield " ".join(words) + "\n"
    told = f"{args.output}: {kept} sentences; left out {empty} empty, {long} longer than {args.max_words} words"
    print(told + (f", {known} that stand in --leave-out" if seen else ""), file=sys.stderr)
    if not kept:
        raise SystemExit(f"prepare.py: nothing is left of {args.input}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output")
    parser.add_argument("--lower", action="store_true", help="lower-case")
    parser.add_argument("--tokenize", metavar="LANG", help="Moses tokens of this language; else the text has them")
    parser.add_argument("--max-words", type=int, default=199, help="longer sentences are left out (default: 199)")
    parser.add_argument("--limit", type=int, default=0, help="keep only the first so many sentences")
    parser.add_argument("--leave-out", type=Path, nargs="*", default=[], help="files whose sentences must not be kept")
    args = parser.parse_args()
    seen = {same_words(line) for path in args.leave_out for line in read(path)}
    write_text(args.output, "".join(prepared(read(args.input), args, seen)))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError, EOFError) as error:
        sys.exit(f"prepare.py: cannot prepare the text: {error}")
