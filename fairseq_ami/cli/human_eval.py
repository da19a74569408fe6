"""``fairseq-ami human-eval``: blind pairs of replies for human judges, and what they say (AMI, Table 3)."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from itertools import combinations
from typing import Any, Dict, List, Sequence, Tuple

import fairseq_ami
from fairseq_ami.cli.texts import aligned_lines, plain, read_lines, warn_of_subwords
from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole, write_text
from fairseq_ami.tools.human_eval.answers import read_answers, read_key
from fairseq_ami.tools.human_eval.page import render_page, render_sheet
from fairseq_ami.tools.human_eval.scoring import PairScore, score
from fairseq_ami.tools.human_eval.sheet import Item, Pair, draw_items, make_key, turns_of


def run(args: argparse.Namespace) -> int:
    return prepare(args) if args.action == "prepare" else report(args)


# ---------------------------------------------------------------------- prepare


def prepare(args: argparse.Namespace) -> int:
    """Read, draw, write the folder of the study."""
    out = os.path.normpath(args.out)
    if os.path.exists(out):
        raise AMIError(f"{out} is there already, maybe with the key of a study: choose another --out")
    histories, replies = read_texts(args)
    pairs = chosen_pairs(args.pair, list(replies))
    items = draw_items(histories, replies, pairs, args.count, args.seed, args.sets, args.identical == "drop")
    files = {"histories": args.histories, "systems": dict(entry.split("=", 1) for entry in args.system)}
    about = {"separator": args.separator, "count": args.count, "seed": args.seed, "identical": args.identical}
    key = make_key(items, pairs, args.question, version=fairseq_ami.__version__, files=files, **about)
    with whole(out, parents=True) as folder:
        write_study(folder, key, items)
    for pair in pairs:
        its = [item for item in items if item.pair == pair]
        same = args.count - len(its) if args.identical == "drop" else sum(item.identical for item in its)
        state = "dropped" if args.identical == "drop" else "kept"
        print(f"{pair[0]} vs. {pair[1]}: {len(its)} items; {same} with identical replies {state}")
    sets = ", ".join(f"set-{number} ({size} items)" for number, size in enumerate(key["sets"], 1))
    print(f"{out}/judges: {sets}: each as a page and as a spreadsheet, to send out")
    print(f"{out}/key.json: which side is which system: keep it from the judges")
    return 0


def read_texts(args: argparse.Namespace) -> Tuple[List[List[str]], Dict[str, List[str]]]:
    """Turns of each history, and the replies of each system.

    Raises:
        AMIError: unreadable, of different lengths, or systems without a name of their own.
    """
    if not args.separator.strip():
        raise AMIError("--separator is empty: pass the token that stands between turns")
    lines = read_lines(args.histories)
    replies: Dict[str, List[str]] = {}
    for entry in args.system:
        name, equals, path = entry.partition("=")
        if not (name.strip() and equals and path):
            raise AMIError(f"--system {entry}: a system is given as NAME=FILE")
        if name in replies:
            raise AMIError(f"--system: two systems are called {name}")
        replies[name] = aligned_lines(path, args.histories, len(lines))
    if not any(args.separator in line for line in lines):
        print(f"warning: {args.histories} has no {args.separator}: each history is one turn", file=sys.stderr)
    warn_of_subwords({args.histories: lines, **replies})
    return [turns_of(line, args.separator) for line in lines], replies


def chosen_pairs(given: "Sequence[Sequence[str]] | None", names: Sequence[str]) -> List[Pair]:
    """The pairs asked for, or the last system with each other one.

    Raises:
        AMIError: no two systems, an unknown one, or the same two twice.
    """
    if len(names) < 2:
        raise AMIError("a pair needs two systems: pass --system twice or more")
    pairs = [(first, second) for first, second in given or [(names[-1], name) for name in names[:-1]]]
    for pair in pairs:
        unknown = [name for name in pair if name not in names]
        if unknown:
            raise AMIError(f"--pair: there is no system {unknown[0]}: the systems are {', '.join(names)}")
        if pair[0] == pair[1]:
            raise AMIError(f"--pair: {pair[0]} cannot be compared with itself")
    for one, other in combinations(pairs, 2):
        if {*one} == {*other}:
            raise AMIError(f"--pair: {one[0]} and {one[1]} are paired twice")
    return pairs


def write_study(folder: str, key: Dict[str, Any], items: Sequence[Item]) -> None:
    """key.json, and the pages and sheets of all sets in a folder of their own."""
    judges = os.path.join(folder, "judges")
    os.makedirs(judges)
    write_text(os.path.join(folder, "key.json"), json.dumps(key, indent=1, ensure_ascii=False) + "\n")
    for number in range(1, len(key["sets"]) + 1):
        its = [item for item in items if item.set == number]
        place = os.path.join(judges, f"set-{number}")
        write_text(f"{place}.html", render_page(key["study"], key["question"], its, len(key["sets"])))
        write_text(f"{place}.csv", render_sheet(key["study"], its))


# ---------------------------------------------------------------------- score


def report(args: argparse.Namespace) -> int:
    """Read, score, write, print."""
    key = read_key(args.key)
    rows = read_answers(args.answers, key)
    scores = score(key, rows)
    if args.json:
        about = {"version": fairseq_ami.__version__, "study": key.study, "files": args.answers}
        content = {**about, "pairs": [asdict(pair) for pair in scores]}
        write_text(args.json, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    print("\n\n".join([plain(table(scores)), "\n".join(notes(scores))]))
    return 0


def table(scores: Sequence[PairScore]) -> List[List[str]]:
    """Table 3 with counts; header first."""
    rows = [["", "wins", "losses", "ties", "judges", "kappa", "p (judgements)", "p (items)"]]
    for pair in scores:
        shares = [f"{100 * n / (pair.judgements or 1):.1f} % ({n})" for n in (pair.wins, pair.losses, pair.ties)]
        kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.3f}"
        tests = [f"{p:.4f}" if p >= 1e-4 else "< 0.0001" for p in (pair.p_judgements, pair.p_items)]
        rows.append([" vs. ".join(pair.pair), *shares, str(pair.judges), kappa, *tests])
    return rows


def notes(scores: Sequence[PairScore]) -> List[str]:
    """What must stand beside the figures."""
    lines = ["Wins and losses are those of the system named first."]
    for pair in scores:
        facts = [f"{pair.items} items, {pair.judgements} judgements, {pair.left_out} left out"]
        facts.append(f"kappa over the {pair.kappa_items} items that all judges of it judged")
        facts.append(f"{pair.identical} items with identical replies kept, {pair.dropped} dropped")
        lines.append(f"{' vs. '.join(pair.pair)}: {'; '.join(facts)}.")
    lines.append("kappa: Fleiss' kappa over win, loss and tie.")
    lines.append(
        "p: two-sided sign tests, ties excluded. Judgements of one item are not independent: that over items, each "
        "counted for the system that more judges prefer, is the safer one."
    )
    return lines
