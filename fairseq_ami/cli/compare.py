"""``fairseq-ami compare``: histories with the replies of all systems, side by side (AMI, Table 4)."""

import argparse
from typing import Sequence

from fairseq_ami.cli.human_eval import read_texts
from fairseq_ami.cli.options.compare import HUMAN
from fairseq_ami.cli.texts import aligned_lines
from fairseq_ami.errors import AMIError
from fairseq_ami.files import write_text
from fairseq_ami.tools.human_eval.sheet import draw_lines
from fairseq_ami.tools.human_eval.side_by_side import Example, as_html, as_markdown


def run(args: argparse.Namespace) -> int:
    """Read, draw, write."""
    histories, replies = read_texts(args)
    if args.references:
        if HUMAN in replies:
            raise AMIError(f"--references are shown as {HUMAN}: give that system another name")
        replies[HUMAN] = aligned_lines(args.references, args.histories, len(histories))
    lines = chosen_lines(args, len(histories))
    examples = [Example(at + 1, histories[at], {name: texts[at] for name, texts in replies.items()}) for at in lines]
    if args.html:
        write_text(args.html, as_html(examples))
    if args.markdown:
        write_text(args.markdown, as_markdown(examples))
    if not args.html and not args.markdown:
        print(as_markdown(examples), end="")
    return 0


def chosen_lines(args: argparse.Namespace, available: int) -> Sequence[int]:
    """Lines to show, counted from 0: those asked for, or drawn ones in the order of the file.

    Raises:
        AMIError: there are not as many.
    """
    if not args.lines:
        return sorted(draw_lines(available, args.count, args.seed))
    beyond = [number for number in args.lines if number > available]
    if beyond:
        raise AMIError(f"--lines {beyond[0]}: {args.histories} has {available} lines")
    return [number - 1 for number in args.lines]
