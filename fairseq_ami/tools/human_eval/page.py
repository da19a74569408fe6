"""What the judges get: a self-contained HTML page, or the same items as a spreadsheet."""

import base64
import csv
import hashlib
import io
import json
from importlib.resources import files
from string import Template
from typing import Sequence

from fairseq_ami.tools.human_eval.sheet import Item, speaker

SHEET_COLUMNS = ("study", "judge", "item", "history", "left", "right", "answer")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def resource(name: str) -> str:
    """A file of this package."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def render_page(study: str, question: str, items: Sequence[Item], sets: int) -> str:
    """The page of one set. It needs no network, and its policy lets it run its own script and nothing else."""
    style, script = resource("style.css"), resource("page.js")
    about = {"study": study, "set": items[0].set, "sets": sets, "question": question}
    data = script_json({**about, "items": [item.shown() for item in items]})
    allowed = f"{_allow('style', style)}; {_allow('script', script)}"
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; {allowed}"
    return Template(resource("page.html")).substitute(policy=policy, style=style, script=script, data=data)


def script_json(value: object) -> str:
    """JSON that may stand inside of a script element: nothing in it can end the element or open another."""
    return json.dumps(value).replace("<", "\\u003c")


def _allow(kind: str, content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"{kind}-src 'sha256-{digest}'"


def render_sheet(study: str, items: Sequence[Item]) -> str:
    """The items as CSV, for judges who prefer a spreadsheet: they fill in the last column, and their name once."""
    out = io.StringIO()
    out.write("\ufeff")  # or Excel takes it for Latin-1
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(SHEET_COLUMNS)
    for item in items:
        history = "\n".join(f"[{speaker(at)}] {turn}" for at, turn in enumerate(item.turns))
        writer.writerow([study, "", item.number, history, *map(_no_formula, item.replies), ""])
    return out.getvalue()


def _no_formula(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
