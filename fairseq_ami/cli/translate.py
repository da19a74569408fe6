"""``fairseq-ami translate``: text in, text out, from the shell."""

import argparse
import json
import logging
import os
import sys
import warnings
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, BinaryIO, Iterable, Iterator, List, Optional, Tuple

from tqdm import tqdm

from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text


def run(args: argparse.Namespace) -> int:
    check_arguments(args)
    be_quiet(args.verbose)
    from fairseq_ami.cli.engines import translator_of  # fairseq tells about itself when it is imported

    translator = translator_of(args)
    written: List[str] = []
    with opened(args.input) as source:
        for first, lines in chunks(source, args):
            for number, (line, found) in enumerate(zip(lines, translator.translate(lines, first)), first + 1):
                written += shown(args, number, line, found)
            if not args.output:
                print("".join(line + "\n" for line in written), end="", flush=True)
                written.clear()
    if args.output:
        write_text(args.output, "".join(line + "\n" for line in written))
    return 0


def be_quiet(verbose: bool) -> None:
    """Show warnings and errors only: fairseq tells about every file that it opens.

    The first import of fairseq would otherwise give the root logger a handler of its own.
    """
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level, stream=sys.stderr, force=True)
    if not verbose:
        for package in ("torch", "fairseq"):  # they warn about how they call themselves
            warnings.filterwarnings("ignore", category=UserWarning, module=rf"{package}\.")


def check_arguments(args: argparse.Namespace) -> None:
    """What can be known before anything is loaded.

    Raises:
        AMIError: options that contradict each other, or files that could not be written or read.
    """
    check_writable(args.output)
    if args.input != "-" and not os.path.isfile(args.input):
        raise AMIError(f"there is no file {args.input}")
    if args.sampling and not 0 < args.sampling_topp <= 1:
        raise AMIError("--sampling-topp lies above 0 and not above 1")
    drawing = {"--noise": args.noise, "--sampling-topk": args.sampling_topk, "--sampling-topp": args.sampling_topp != 1}
    drawing["--temperature"] = args.temperature != 1
    for option, given in drawing.items():
        if given and not args.sampling:
            raise AMIError(f"{option} belongs to --sampling")
    if args.weight is None and (args.backward or args.length_weight is not None):
        option = "--backward" if args.backward else "--length-weight"
        raise AMIError(f"{option} belongs to --lambda, the weight of log Q(S|T')")
    if not args.sampling and args.nbest > args.beam:
        raise AMIError(f"--nbest {args.nbest} is more than --beam {args.beam} finds")


# ---------------------------------------------------------------------- text


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The input."""
    if path == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        yield file


def chunks(source: BinaryIO, args: argparse.Namespace) -> Iterator[Tuple[int, List[str]]]:
    """Number of the first line, and as many lines as are read at once; a person at a terminal gets line for line.

    Raises:
        AMIError: text that is not UTF-8.
    """
    size = 1 if source.isatty() else args.buffer_size
    number, lines = 0, []
    progress: Iterable[bytes] = tqdm(
        source, desc="translate", unit=" lines", leave=False, disable=_no_bar(args, source)
    )
    for line in progress:
        try:
            lines.append(line.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            raise AMIError(f"{args.input}, line {number + len(lines) + 1} is not UTF-8: {error}") from error
        if len(lines) == size:
            yield number, lines
            number, lines = number + len(lines), []
    if lines:
        yield number, lines


def _no_bar(args: argparse.Namespace, source: BinaryIO) -> Optional[bool]:
    """A bar only where no translations run over the same terminal; None leaves the choice to tqdm."""
    return True if source.isatty() or (sys.stdout.isatty() and not args.output) else None


def shown(args: argparse.Namespace, number: int, line: str, found: List[Any]) -> List[str]:
    """The lines of output of one line of input: as many as --nbest, or one object."""
    if args.json:
        hypotheses = [{name: value for name, value in asdict(row).items() if value is not None} for row in found]
        return [json.dumps({"line": number, "source": line, "hypotheses": hypotheses}, ensure_ascii=False)]
    if not args.scores:
        return [row.text for row in found] or [""] * args.nbest
    rows = []
    for row in found:
        values = [row.score, row.log_p, *([] if row.log_q is None else [row.log_q])]
        rows.append("\t".join([str(number), *(f"{value:.4f}" for value in values), row.text]))
    empty = "\t".join([str(number)] + [""] * (2 if args.weight is None else 3) + [""])
    return rows or [empty] * args.nbest
