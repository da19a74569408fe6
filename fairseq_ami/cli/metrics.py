"""``fairseq-ami metrics``: text metrics of several systems' outputs, side by side."""

import argparse
import json
import logging
import os
import sys
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import fairseq_ami
from fairseq_ami.cli.messages import progress_bar
from fairseq_ami.cli.options.metrics import TRIALS
from fairseq_ami.cli.texts import aligned_lines, markdown, plain, read_lines, warn_of_subwords
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.metrics.corpus import LOWER_IS_BETTER
from fairseq_ami.metrics.word_vectors import WordVectors, read_vectors, train_vectors
from fairseq_ami.tools.replies.comparison import Comparison, Estimate, compare

Paths = Dict[str, Dict[Optional[int], str]]  # name of a system -> seed of a run -> file

# of the others: 4
DIGITS = {"bleu": 2, "chrf": 2, "ter": 2, "length": 2, "average": 3, "greedy": 3, "extrema": 3, "ent_4": 3}


def run(args: argparse.Namespace) -> int:
    """Read, measure, write, report."""
    for library in ("sacrebleu", "gensim"):
        logging.getLogger(library).setLevel(logging.WARNING)
    check_writable(args.json, args.markdown)
    paths = named_paths(args.hypotheses)
    trials = trials_of(args, paths)
    references = read_lines(args.references)
    systems = {
        name: {seed: aligned_lines(path, args.references, len(references)) for seed, path in runs.items()}
        for name, runs in paths.items()
    }
    sources = aligned_lines(args.source, args.references, len(references)) if args.source else None
    named = {title(name, seed): texts for name, runs in systems.items() for seed, texts in runs.items()}
    warn_of_subwords({args.references: references, **named})
    vocabulary, counted = load_vocabulary(args, named)
    vectors = load_vectors(args, [references, *named.values()])
    found = compare(
        systems, references, sources, vectors, args.bootstrap, args.seed, args.bleu_tokenize, args.corpus_metrics,
        vocabulary, trials, progress_bar,
    )  # fmt: skip
    if args.json:
        files = {"references": args.references, "source": args.source, "hypotheses": as_entries(paths)}
        content = {"version": fairseq_ami.__version__, "files": files, **found.as_dict()}
        write_text(args.json, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    lines = notes(found, counted)
    if args.markdown:
        blocks = [markdown(rows) for rows in tables(found)] + ["\n".join(f"- {line}" for line in lines)]
        write_text(args.markdown, "\n\n".join(blocks) + "\n")
    print("\n\n".join([*map(plain, tables(found)), "\n".join(lines)]))
    return 0


# ---------------------------------------------------------------------- input


def named_paths(entries: Sequence[str]) -> Paths:
    """NAME=FILE, NAME:SEED=FILE, or FILE, which is its own name.

    A file that is there under the whole of the entry is meant first.

    Raises:
        AMIError: a seed that is no whole number, two systems of one name, or two files for one seed.
    """
    paths: Paths = {}
    for entry in entries:
        name, separator, path = entry.partition("=")
        seed: Optional[int] = None
        if not separator or os.path.exists(entry):
            name = path = entry
        elif ":" in name:
            name, _, number = name.rpartition(":")
            if not number.isdecimal():
                raise AMIError(f"--hypotheses {entry}: the seed {number!r} is no whole number: write NAME:SEED=FILE")
            seed = int(number)
        runs = paths.setdefault(name, {})
        if seed in runs and seed is not None:
            raise AMIError(f"--hypotheses: {name} has two files for seed {seed}")
        if runs and (seed is None or None in runs):
            raise AMIError(
                f"--hypotheses: two systems are called {name}: name them with NAME=FILE, or runs of one system under "
                "several seeds with NAME:SEED=FILE"
            )
        runs[seed] = path
    return paths


def title(name: str, seed: Optional[int]) -> str:
    return name if seed is None else f"{name}:{seed}"


def as_entries(paths: Paths) -> Dict[str, str]:
    """Name, with the seed if there is one -> file."""
    return {title(name, seed): path for name, runs in paths.items() for seed, path in runs.items()}


def trials_of(args: argparse.Namespace, paths: Paths) -> int:
    """Trials of the test; none of one system.

    Raises:
        AMIError: a test of one system was asked for.
    """
    if len(paths) > 1:
        return TRIALS if args.trials is None else args.trials
    if args.trials:
        raise AMIError(
            f"--trials {args.trials}: the test compares systems, and there is only {next(iter(paths))}: give "
            "--hypotheses two systems or more"
        )
    return 0


def load_vocabulary(args: argparse.Namespace, texts: Mapping[str, Sequence[str]]) -> Tuple[Optional[int], str]:
    """V of the expectation-adjusted distinct, None for that of the references, and what was counted.

    Raises:
        AMIError: a number below 1 or below the different words of one of *texts*, or a text without a word.
    """
    if args.vocabulary is None:
        return None, f"the different words of {args.references}"
    try:
        size, counted = int(args.vocabulary), "given"
    except ValueError:
        size, counted = different_words(read_lines(args.vocabulary)), f"the different words of {args.vocabulary}"
    if size < 1:
        raise AMIError(f"--vocabulary {args.vocabulary}: a vocabulary has at least one word")
    for name, lines in texts.items() if counted == "given" else ():
        if different_words(lines) > size:
            raise AMIError(
                f"--vocabulary {size}: {name} uses {different_words(lines)} different words: give the number of words "
                "that the systems can write"
            )
    return size, counted


def different_words(lines: Iterable[str]) -> int:
    return len({word for line in lines for word in line.split()})


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
    """The figures of all systems, their differences from the first, and p-values; header first, all cells as text."""
    (first, report), *others = found.systems.items()
    names = list(report.figures)
    figures = [["", *found.systems]]
    figures += [[name, *(cell(name, r.figures[name]) for r in found.systems.values())] for name in names]
    figures.append(["empty replies", *(str(r.empty) for r in found.systems.values())])
    if found.vectors:
        figures.append(["no known word", *(str(r.unknown) for r in found.systems.values())])
    if any(len(r.seeds) > 1 for r in found.systems.values()):
        figures.append(["seeds", *(" ".join(map(seed_title, r.seeds)) for r in found.systems.values())])
    if not others:
        return [figures]
    gains = [[f"minus {first}", *(name for name, _ in others)]]
    gains += [[name, *(cell(name, r.gains[name], "+") for _, r in others)] for name in names]
    if not found.trials:
        return [figures, gains]
    p_values = [["p (Holm)", *(name for name, _ in others)]]
    p_values += [[name, *(f"{r.p_holm[name]:.4f}" for _, r in others)] for name in names]
    return [figures, gains, p_values]


def seed_title(seed: Optional[int]) -> str:
    return "-" if seed is None else str(seed)


def cell(name: str, estimate: Estimate, sign: str = "") -> str:
    form = f"{sign}.{DIGITS.get(name, 4)}f"
    text = format(estimate.value, form)
    if estimate.deviation is not None:
        text += f" \u00b1 {estimate.deviation:{form}}"
    return text if estimate.low is None else f"{text} ({estimate.low:{form}} to {estimate.high:{form}})"


def notes(found: Comparison, counted: str) -> List[str]:
    """What must stand beside the figures."""
    lines = [f"{found.replies} replies a system: dist and ent depend on their number."]
    if any(len(report.seeds) > 1 for report in found.systems.values()):
        lines[0] = f"{found.replies} replies per run: dist and ent depend on their number."
        lines.append("Of several seeds: mean \u00b1 standard deviation over the seeds. Differences are between means.")
    if found.vectors:
        lines.append(
            f"average, greedy, extrema: word vectors {found.vectors}. Replies without a known word score 0, and so "
            f"do those to the {found.unknown_references} references without one."
        )
    else:
        lines.append("No average, greedy and extrema: pass --vectors or --train-text.")
    lines.append(
        f"ead: different words over those of as many words drawn uniformly from a vocabulary (Liu et al., 2022). "
        f"vocabulary: {found.vocabulary} words ({counted})."
    )
    beyond = [name for name, report in found.systems.items() if report.words > found.vocabulary]
    if beyond:
        lines.append(f"ead: {', '.join(beyond)} use more different words than that: pass a larger --vocabulary.")
    lines.append("ent_4: nats. repetition: share of the 4-grams that stood earlier in the same reply.")
    if any("copy_1" in report.figures for report in found.systems.values()):
        lines.append("copy_1, copy_2: share of the words and bigrams that occur in the reply's own source.")
    for name, signature in found.signatures.items():
        lower = " Lower is better." if name in LOWER_IS_BETTER else ""
        lines.append(f"{name}: sacreBLEU {signature}.{lower}")
    return lines + notes_of_tests(found)


def notes_of_tests(found: Comparison) -> List[str]:
    lines = []
    if found.draws:
        lines.append(
            f"In brackets: 95 % intervals, bootstrap over replies ({found.draws} draws, seed {found.seed}, the same "
            "for all systems). Those of dist, ead and ent are moved to the figure, since resampled replies repeat one "
            "another: take them as rough."
        )
    if found.trials:
        others = len(found.systems) - 1
        lines.append(
            f"p: two-sided paired approximate randomisation against {next(iter(found.systems))} ({found.trials} "
            f"trials; sacreBLEU's for its metrics). Each row is adjusted by Holm's method for {others} "
            f"comparison{'s' if others > 1 else ''}."
        )
    return lines
