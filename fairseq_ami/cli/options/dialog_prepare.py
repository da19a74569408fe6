"""Options of ``fairseq-ami dialog-prepare``."""

import argparse

from fairseq_ami.choices import DIALOGUE_FORMATS, SPLITS
from fairseq_ami.cli.arguments import positive

FORMATS_HELP = (
    "parlai: `N text<TAB>reply` and persona lines (PersonaChat); dailydialog: one dialogue per line, __eou__ after "
    "each utterance; tsv: one `history<TAB>reply` per line, <sep> between the utterances of the history"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=DIALOGUE_FORMATS, help=FORMATS_HELP)
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
