"""``fairseq-ami adversarial-eval``: how often replies pass for human ones (Li et al. 2017)."""

import argparse
import json
from dataclasses import asdict
from typing import Any, Dict, Iterable, List

import torch
from tqdm import tqdm

import fairseq_ami
from fairseq_ami.cli.human_eval import read_texts
from fairseq_ami.cli.texts import aligned_lines, plain
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.plugin import register
from fairseq_ami.tools.replies.adversarial import CHECKS, MACHINE, Verdict, evaluate
from fairseq_ami.tools.replies.evaluator import Judged
from fairseq_ami.tools.replies.evaluator_settings import EvaluatorSettings

HEADER = ["system", "adversarial success", "machine vs. random", "reliability error"]


def run(args: argparse.Namespace) -> int:
    """Read, train evaluators, report, write."""
    check_writable(args.json)
    histories, systems = read_texts(args)
    references = aligned_lines(args.references, args.histories, len(histories))
    register()
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    settings = EvaluatorSettings(**{name: getattr(args, name) for name in EvaluatorSettings.__dataclass_fields__})
    found = evaluate(histories, references, systems, settings, device, _bar, _tell)
    print("\n" + "\n\n".join([plain(table(found)), plain(checks(found)), *NOTES]))
    if args.json:
        write_text(args.json, as_json(args, settings, found))
    return 0


NOTES = [
    "Adversarial success: share of replies, human and machine, that a fresh evaluator takes for the other kind, on the "
    "half that it did not learn from; 0.5 is the best. With its standard error.",
    "Reliability error: mean distance of the four checks from what a perfect evaluator would find (in brackets).",
]


def _bar(items: Iterable[Any], title: str) -> Iterable[Any]:
    return tqdm(items, desc=title, leave=False, disable=None)  # None: on a terminal only


def _tell(name: str, verdict: Verdict) -> None:
    print(f"{name}: adversarial success {share(verdict.versus_human)}", flush=True)


def share(judged: Judged) -> str:
    """Adversarial success and its standard error."""
    return f"{1 - judged.accuracy:.3f} +- {judged.standard_error:.3f}"


def table(found: Dict[str, Verdict]) -> List[List[str]]:
    rows = [HEADER]
    for name, verdict in found.items():
        machine = verdict.checks[(MACHINE, "random")]
        rows.append([name, share(verdict.versus_human), f"{machine.accuracy:.3f}", f"{verdict.reliability_error:.3f}"])
    return rows


def checks(found: Dict[str, Verdict]) -> List[List[str]]:
    """Adversarial success in the situations whose answer is known."""
    head = [f"{first} vs. {second} ({gold:g})" for (first, second), gold in CHECKS.items()]
    rows = [["system", *head]]
    return rows + [[name, *(share(verdict.checks[pair]) for pair in CHECKS)] for name, verdict in found.items()]


def as_json(args: argparse.Namespace, settings: EvaluatorSettings, found: Dict[str, Verdict]) -> str:
    systems = {
        name: {
            "adversarial_success": verdict.success,
            "standard_error": verdict.versus_human.standard_error,
            "reliability_error": verdict.reliability_error,
            "human_against_machine": figures(verdict.versus_human),
            "checks": {
                f"{first}_against_{second}": {**figures(verdict.checks[(first, second)]), "perfect_success": gold}
                for (first, second), gold in CHECKS.items()
            },
        }
        for name, verdict in found.items()
    }
    files = {"histories": args.histories, "references": args.references, "systems": args.system}
    content = {"version": fairseq_ami.__version__, "files": files, "settings": asdict(settings), "systems": systems}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def figures(judged: Judged) -> Dict[str, float]:
    return {
        "accuracy": judged.accuracy,
        "success": 1 - judged.accuracy,
        "standard_error": judged.standard_error,
        "positive_examples": judged.positive,
        "negative_examples": judged.negative,
    }
