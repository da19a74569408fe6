"""``fairseq-ami metrics``: text metrics of several systems' replies, side by side."""

import argparse
import json
import logging
import os
import sys
from typing import Dict, List, Optional, Sequence

import fairseq_ami
from fairseq_ami.cli.texts import aligned_lines, markdown, plain, read_lines, warn_of_subwords
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.metrics.word_vectors import WordVectors, read_vectors, train_vectors
from fairseq_ami.tools.replies.comparison import Comparison, Estimate, compare

DIGITS = {"bleu": 2, "length": 2, "average": 3, "greedy": 3, "extrema": 3, "ent_4": 3}  # of the others: 4


def run(args: argparse.Namespace) -> int:
    """Read, measure, write, report."""
    for library in ("sacrebleu", "gensim"):
        logging.getLogger(library).setLevel(logging.WARNING)
    check_writable(args.json, args.markdown)
    paths = named_paths(args.hypotheses)
    references = read_lines(args.references)
    systems = {name: aligned_lines(path, args.references, len(references)) for name, path in paths.items()}
    sources = aligned_lines(args.source, args.references, len(references)) if args.source else None
    warn_of_subwords({args.references: references, **systems})
    vectors = load_vectors(args, [references, *systems.values()])
    found = compare(systems, references, sources, vectors, args.bootstrap, args.seed, args.bleu_tokenize)
    if args.json:
        files = {"references": args.references, "source": args.source, "hypotheses": paths}
        content = {"version": fairseq_ami.__version__, "files": files, **found.as_dict()}
        write_text(args.json, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if args.markdown:
        blocks = [markdown(rows) for rows in tables(found)] + ["\n".join(f"- {line}" for line in notes(found))]
        write_text(args.markdown, "\n\n".join(blocks) + "\n")
    print("\n\n".join([*map(plain, tables(found)), "\n".join(notes(found))]))
    return 0


# ---------------------------------------------------------------------- input


def named_paths(entries: Sequence[str]) -> Dict[str, str]:
    """NAME=FILE or FILE, which is its own name; a file that is there under the whole of the entry is meant first.

    Raises:
        AMIError: two systems of one name.
    """
    paths: Dict[str, str] = {}
    for entry in entries:
        name, separator, path = entry.partition("=")
        if not separator or os.path.exists(entry):
            name = path = entry
        if name in paths:
            raise AMIError(f"--hypotheses: two systems are called {name}: name them with NAME=FILE")
        paths[name] = path
    return paths


def load_vectors(args: argparse.Namespace, texts: Sequence[Sequence[str]]) -> Optional[WordVectors]:
    """Vectors from a file or trained ones, or None."""
    if args.train_text:
        sentences = [line.split() for line in read_lines(args.train_text)]
        print(f"training word vectors on {len(sentences)} lines of {args.train_text} ...", file=sys.stderr)
        return train_vectors(sentences, args.train_text, seed=args.seed)
    if args.vectors:
        return read_vectors(args.vectors, {word for lines in texts for line in lines for word in line.split()})
    return None


# ---------------------------------------------------------------------- output


def tables(found: Comparison) -> List[List[List[str]]]:
    """The figures of all systems, then their differences from the first; header first, all cells as text."""
    (first, report), *others = found.systems.items()
    names = list(report.figures)
    figures = [["", *found.systems]]
    figures += [[name, *(cell(name, r.figures[name]) for r in found.systems.values())] for name in names]
    figures.append(["empty replies", *(str(r.empty) for r in found.systems.values())])
    if found.vectors:
        figures.append(["no known word", *(str(r.unknown) for r in found.systems.values())])
    if not others:
        return [figures]
    gains = [[f"less {first}", *(name for name, _ in others)]]
    gains += [[name, *(cell(name, r.gains[name], "+") for _, r in others)] for name in names]
    if found.draws:
        gains.append(["p of bleu", *(f"{r.bleu_p:.4f}" for _, r in others)])
    return [figures, gains]


def cell(name: str, estimate: Estimate, sign: str = "") -> str:
    form = f"{sign}.{DIGITS.get(name, 4)}f"
    if estimate.low is None:
        return format(estimate.value, form)
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def notes(found: Comparison) -> List[str]:
    """What must stand beside the figures."""
    lines = [f"{found.replies} replies a system: dist and ent depend on their number."]
    if found.vectors:
        lines.append(
            f"average, greedy, extrema: word vectors {found.vectors}. Replies without a known word score 0, and so "
            f"do those to the {found.unknown_references} references without one."
        )
    else:
        lines.append("No average, greedy and extrema: pass --vectors or --train-text.")
    lines.append("ent_4: nats. repetition: share of the 4-grams that stood earlier in the same reply.")
    if any("copy_1" in report.figures for report in found.systems.values()):
        lines.append("copy_1, copy_2: share of the words and bigrams that occur in the reply's own source.")
    lines.append(f"bleu: sacreBLEU {found.signature}.")
    if found.draws:
        lines.append(
            f"In brackets: 95 % intervals, bootstrap over replies ({found.draws} draws, seed {found.seed}, the same "
            "for all systems). Those of dist and ent are moved to the figure, since resampled replies repeat one "
            "another: take them as rough."
        )
    if found.draws and len(found.systems) > 1:
        lines.append("p of bleu: sacreBLEU's paired bootstrap test.")
    return lines
