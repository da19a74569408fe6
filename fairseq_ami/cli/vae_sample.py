"""``fairseq-ami vae-sample``: text from a text VAE, and what its latent space holds (VAE-MINE tables 3 to 6)."""

import argparse
import json
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import fairseq_ami
from fairseq_ami.cli.messages import progress_bar
from fairseq_ami.cli.text_vae import check_data, find, load
from fairseq_ami.cli.texts import read_lines
from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.generation.latent_decoding import DecodingOptions
from fairseq_ami.models.text_vae import TextVAE
from fairseq_ami.tools.text_vae.studies import LatentStudies

if TYPE_CHECKING:
    from fairseq_ami.tasks.text_vae import TextVAETask

logger = logging.getLogger(__name__)

# option of a decoding -> decodings that have it
_OPTIONS = {"temperature": "sample", "topk": "sample", "topp": "sample", "beam": "beam", "lenpen": "beam"}
_SPLIT_LINES = re.compile(r"([\w.-]+):(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)")


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    options = check_arguments(args)
    where = find(args.checkpoint, args.data)
    model, task = load(where, args)
    check_model(args, model)
    if args.bf16:
        model.use_bfloat16_decoder()
    max_len = args.max_len or model.max_decoder_positions() - 1  # the end symbol takes the last place
    studies = LatentStudies(
        model, max_len, args.decoding, options, args.seed, args.batch_size,
        progress=progress_bar, reads=where.reads, writes=where.writes,
    )  # fmt: skip
    found = _studied(args, studies, task)
    if args.output:
        write_text(args.output, "".join(sentence + "\n" for sentence in found["prior"]))
    if args.json:
        settings = {name: value for name, value in vars(args).items() if name not in ("run", "verb")}
        data = {"version": fairseq_ami.__version__, "settings": settings, **found}
        write_text(args.json, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    shown = {name: value for name, value in found.items() if not (name == "prior" and args.output)}
    if shown:
        print((as_markdown if args.markdown else as_text)(groups(shown)))
    return 0


def _studied(args: argparse.Namespace, studies: LatentStudies, task: "TextVAETask") -> Dict[str, Any]:
    """Everything that was asked for."""
    found: Dict[str, Any] = {}
    if args.reconstruct:
        lines = _sentences(task, args.reconstruct, "--reconstruct")
        found["reconstructions"] = studies.reconstruct(lines, args.samples or 0, f"--reconstruct {args.reconstruct}")
    if args.interpolate:
        found["interpolations"] = studies.interpolate(args.interpolate, args.steps, "--interpolate")
    if args.neighbours:
        lines = _sentences(task, args.neighbours, "--neighbours")
        split, where = _split(task, args.subset), f"--neighbours {args.neighbours}"
        found["neighbours"] = studies.neighbours(lines, split, args.top, where)
    if args.prior:  # the slowest: after whatever may be refused
        found["prior"] = studies.prior(args.prior)
    return found


def check_model(args: argparse.Namespace, model: TextVAE) -> None:
    """What a language model cannot do.

    Raises:
        AMIError: everything but --prior.
    """
    if model.encoder is not None:
        return
    if args.reconstruct or args.interpolate or args.neighbours:
        raise AMIError(f"{args.checkpoint} is a language model: it has no posterior, so it can only do --prior")
    if args.decoding != "sample" and args.prior > 1:
        logger.warning("a language model has one %s sentence: --decoding sample gives several", args.decoding)


def check_arguments(args: argparse.Namespace) -> DecodingOptions:
    """What can be known before anything is loaded.

    Raises:
        AMIError: options that cannot work, or would do nothing.
    """
    if not (args.prior or args.reconstruct or args.interpolate or args.neighbours):
        raise AMIError("nothing was asked for: pass --prior, --reconstruct, --interpolate or --neighbours")
    check_writable(args.json, args.output)
    check_data(args.data)
    for name, other in (("output", "prior"), ("samples", "reconstruct")):
        if getattr(args, name) and not getattr(args, other):
            raise AMIError(f"--{name} belongs to --{other}, which was not asked for")
    if args.steps < 2:
        raise AMIError("--steps must be at least 2: both ends are among the points")
    if args.reconstruct == args.neighbours == "-":
        raise AMIError("stdin can be read once: --reconstruct and --neighbours cannot both be '-'")
    given = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    for name in given:
        if _OPTIONS[name] != args.decoding:
            raise AMIError(f"--{name} does nothing with --decoding {args.decoding}: it is for {_OPTIONS[name]}")
    return DecodingOptions(unk=not args.no_unk, **given)


# ---------------------------------------------------------------------- which sentences


def _sentences(task: "TextVAETask", where: str, option: str) -> List[str]:
    """The lines of a file, of stdin or of a split.

    Raises:
        AMIError: there are none.
    """
    lines = given_lines(where, option)
    if lines is not None:
        return lines
    name, numbers = split_lines(where, option)
    split = _split(task, name)
    rows = {line: row for row, line in enumerate(split.lines.tolist())}
    for number in numbers:
        if number - 1 not in rows:
            raise AMIError(f"{option} {where}: {name} has no sentence in line {number}")
    return [task.dictionary.string(split[rows[number - 1]]["target"].tolist()) for number in numbers]


def _split(task: "TextVAETask", name: str) -> SentenceDataset:
    if name not in task.datasets:
        task.load_dataset(name)
    return task.dataset(name)


def given_lines(where: str, option: str) -> Optional[List[str]]:
    """The lines of a text file or of stdin; None if *where* names lines of a split.

    Raises:
        AMIError: neither.
    """
    if where == "-" or os.path.isfile(where):
        return read_lines(where)
    if _SPLIT_LINES.fullmatch(where):
        return None
    raise AMIError(f"{option}: there is no file {where} (lines of a split are written as test:1,4-6)")


def split_lines(where: str, option: str) -> Tuple[str, List[int]]:
    """``test:1,4-6`` -> the split and its line numbers, from 1.

    Raises:
        AMIError: a range that ends before it begins.
    """
    name, text = _SPLIT_LINES.fullmatch(where).groups()
    numbers: List[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) < int(first):
            raise AMIError(f"{option} {where}: {part} ends before it begins")
        numbers += range(int(first), int(last or first) + 1)
    return name, numbers


# ---------------------------------------------------------------------- how it is shown

Group = List[Tuple[str, str]]  # (label, sentence)


def groups(found: Dict[str, Any]) -> List[Group]:
    """Results as labelled sentences that belong together."""
    result: List[Group] = []
    for entry in found.get("reconstructions", ()):
        samples = [(f"sample {number}", text) for number, text in enumerate(entry["samples"], 1)]
        result.append([("input", entry["input"]), ("mean", entry["mean"]), *samples])
    for entry in found.get("interpolations", ()):
        steps = [(f"{step['weight']:.2f}", step["sentence"]) for step in entry["steps"]]
        result.append([("A", entry["from"]), *steps, ("B", entry["to"])])
    for entry in found.get("neighbours", ()):
        near = [(f"{one['cosine']:.3f}", one["sentence"]) for one in entry["neighbours"]]
        result.append([("query", entry["query"]), *near])
    if "prior" in found:
        result.append([("", sentence) for sentence in found["prior"]])
    return result


def as_text(found: List[Group]) -> str:
    """Labels in a column, an empty line between groups; sentences without a label stand alone."""
    texts = []
    for group in found:
        width = max(len(label) for label, _ in group)
        texts.append("\n".join(f"{label:{width}}  {text}".rstrip() if width else text for label, text in group))
    return "\n\n".join(texts)


def as_markdown(found: List[Group]) -> str:
    """One table a group."""
    texts = []
    for group in found:
        rows = [(label, text.replace("|", "\\|").replace("<", "\\<")) for label, text in group]
        texts.append("\n".join(["| | sentence |", "|---|---|", *(f"| {label} | {text} |" for label, text in rows)]))
    return "\n\n".join(texts)
