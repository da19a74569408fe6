"""Annotations say something: a parameter has a type of its own, and ``Any`` is for what fairseq passes through."""

import ast
from pathlib import Path
from typing import Iterator, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2] / "fairseq_ami"
MOST_ANY = 0.02  # of the named parameters


def parameters(source: str) -> Iterator[Tuple[str, str]]:
    """(name, annotation as text, empty without one) of all named parameters, ``self`` and ``cls`` left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for found in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
                if found.arg not in ("self", "cls"):
                    yield found.arg, ast.unparse(found.annotation) if found.annotation else ""


@pytest.mark.parametrize(
    "source, found",
    [
        ("def f(a, *, b: Any = 1): ...", [("a", ""), ("b", "Any")]),
        ("class C:\n  def f(self, x: Dict[str, Any], /, *args: Any, **kwargs: Any): ...", [("x", "Dict[str, Any]")]),
    ],
)
def test_what_is_counted(source, found):
    """Named parameters count; what is passed through as ``*args`` and ``**kwargs`` does not."""
    assert list(parameters(source)) == found


def test_few_parameters_are_any():
    """``Any`` tells a reader nothing and lets every mistake pass."""
    found = [(path.name, *entry) for path in sorted(ROOT.rglob("*.py")) for entry in parameters(path.read_text())]
    assert len(found) > 1000
    vague = [entry for entry in found if entry[2] in ("", "Any")]
    assert len(vague) <= MOST_ANY * len(found), vague
