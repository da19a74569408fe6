"""Make training data of dialogues: histories and replies, tokenised, binarised, with one dictionary."""

import argparse
import os
import re

from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.tools.replies.corpus import BACKWARD, CODES, REPORT, SPLITS, Settings, prepare, table
from fairseq_ami.tools.replies.readers import FORMATS

FORMATS_HELP = (
    "parlai: `N text<TAB>reply` and persona lines (PersonaChat); dailydialog: one dialogue per line, __eou__ after "
    "each utterance; tsv: one `history<TAB>reply` per line, <sep> between the utterances of the history"
)
_OURS = re.compile(
    rf"(train|valid|test)\.(hist|reply|hist-reply\.(hist|reply)\.(bin|idx))|dict\.\w+\.txt|{BACKWARD}|{CODES}|{REPORT}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=list(FORMATS), help=FORMATS_HELP)
    for split in SPLITS:
        title = f"{split} dialogues, plain or .gz"
        parser.add_argument(f"--{split}", nargs="+", metavar="FILE", required=split == "train", help=title)
    parser.add_argument("--destdir", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--history", type=positive, default=3, help="most utterances in a history (default: 3)")
    parser.add_argument(
        "--persona", action="store_true", help="put persona sentences before the history (--format parlai)"
    )
    parser.add_argument("--lowercase", action="store_true", help="lower-case all words")
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--bpe-merges", type=positive, metavar="N", help="learn N merges of subword-nmt on --train")
    words.add_argument("--vocab-size", type=positive, metavar="N", help="keep the N most frequent words of --train")
    parser.add_argument(
        "--threshold", type=positive, default=0, metavar="N", help="drop words that occur fewer than N times in --train"
    )
    parser.add_argument("--workers", type=positive, default=1, help="number of processes (default: 1)")
    parser.add_argument("--force", action="store_true", help="replace DIR if an earlier run made it")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


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
