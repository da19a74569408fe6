"""Make training data of dialogues: histories and replies, tokenised, binarised, with one dictionary."""

import argparse
import os
import re

from fairseq_ami.choices import SPLITS
from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.tools.replies.corpus import BACKWARD, CODES, REPORT, Settings, prepare, table

_DATA = r"(train|valid|test)\.(hist|reply|dialogue|(hist-reply\.(hist|reply)|dialogue)\.(bin|idx))"
_OURS = re.compile(rf"{_DATA}|dict\.\w+\.txt|{BACKWARD}|{CODES}|{REPORT}")


def run(args: argparse.Namespace) -> int:
    if args.persona and args.format != "parlai":
        raise AMIError(f"--persona: files of the format {args.format} have no persona")
    destdir = args.destdir.rstrip("/") or args.destdir
    check_target(destdir, args.force)
    splits = {split: getattr(args, split) for split in SPLITS if getattr(args, split)}
    settings = Settings(
        args.format, args.history, args.persona, args.lowercase, args.bpe_merges, args.vocab_size, args.threshold,
        args.workers,
    )  # fmt: skip
    with whole(destdir, parents=True) as temporary:
        counts, symbols = prepare(temporary, splits, settings)
    for row in table(counts):
        print("\t".join(row))
    print(f"dictionary: {symbols} symbols\nwritten: {destdir}")
    return 0


def check_target(destdir: str, force: bool) -> None:
    """Refuse to replace what is there, unless asked to and an earlier run made it.

    Raises:
        AMIError: a file, or a folder with other things in it.
    """
    if not os.path.lexists(destdir):
        return
    if not os.path.isdir(destdir):
        raise AMIError(f"{destdir} is a file: name a folder")
    names = sorted(os.listdir(destdir))
    if names and not force:
        raise AMIError(f"{destdir} is not empty: pass --force to replace it, or name another folder")
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if foreign:
        raise AMIError(f"{destdir} holds what dialog-prepare did not write ({foreign[0]}, ...): it is not replaced")
