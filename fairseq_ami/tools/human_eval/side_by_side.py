"""Histories with the replies of all systems, as in AMI's Table 4."""

import html
import re
from dataclasses import dataclass
from string import Template
from typing import Mapping, Sequence

from fairseq_ami.tools.human_eval.page import resource
from fairseq_ami.tools.human_eval.sheet import speaker

MARKUP = re.compile(r"([\\`*_\[\]<>&|~$])")  # ASCII punctuation that Markdown reads inside of a line


@dataclass(frozen=True)
class Example:
    line: int  # of the histories, from 1
    turns: Sequence[str]
    replies: Mapping[str, str]  # system -> its reply


def as_markdown(examples: Sequence[Example]) -> str:
    """A heading, the turns and a table an example."""
    blocks = []
    for example in examples:
        turns = [f"- **\\[{speaker(at)}\\]** {_escape(turn)}" for at, turn in enumerate(example.turns)]
        head = ["", f"| | [{speaker(len(example.turns))}] |", "|---|---|"]
        rows = [f"| **{_escape(name)}** | {_escape(reply)} |" for name, reply in example.replies.items()]
        blocks.append("\n".join([f"### Line {example.line}", "", *turns, *head, *rows]))
    return "\n\n".join(blocks) + "\n"


def as_html(examples: Sequence[Example]) -> str:
    """The same as a self-contained page."""
    return Template(resource("side_by_side.html")).substitute(
        style=resource("style.css"), examples="\n".join(map(_article, examples))
    )


def _article(example: Example) -> str:
    turns = [
        f'<li class="{speaker(at).lower()}"><span class="who">{speaker(at)}</span>{_text(turn)}</li>'
        for at, turn in enumerate(example.turns)
    ]
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th><td>{_text(reply)}</td></tr>'
        for name, reply in example.replies.items()
    ]
    caption = f"<caption>Replies of {speaker(len(example.turns))}</caption>"
    parts = [f'<ol class="turns">{"".join(turns)}</ol>', f"<table>{caption}{''.join(rows)}</table>"]
    return "\n".join([f"<article><h2>Line {example.line}</h2>", *parts, "</article>"])


def _text(text: str) -> str:
    if not text.strip():
        return '<span class="text empty">(empty)</span>'
    return f'<span class="text" dir="auto">{html.escape(text)}</span>'


def _escape(text: str) -> str:
    """One line that Markdown shows as it is."""
    return MARKUP.sub(r"\\\1", " ".join(text.split())) or "*(empty)*"
