"""The floors of the package: nothing imports upward, no two folders import each other, the tools stand outside."""

import ast
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2] / "fairseq_ami"

# From the ground up. A folder may import from floors below it and from its own, as long as no two need each other.
FLOORS = [
    {"version", "errors", "choices"},
    {"files", "schedules", "random_streams", "types"},
    {"checkpoints"},
    {"objectives"},
    {"modules"},
    {"metrics", "data", "rewards"},
    {"models", "optim"},
    {"generation"},
    {"criterions", "training"},
    {"tasks"},
    {"plugin"},
    # -------- the plugin ends here
    {"tools"},
    {"hub"},
    {"cli"},
]
PLUGIN_ENDS = 11
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}


def files() -> Iterator[Tuple[str, Path]]:
    """(entry of the package's top level, file), leaving out the package's own ``__init__``."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if parts != ("__init__.py",):
            yield parts[0].removesuffix(".py"), path


def imported(path: Path) -> Set[Tuple[str, ...]]:
    """Dotted names inside the package that a file imports anywhere, lazily or not."""
    names: Set[Tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            if node.module == "fairseq_ami":
                names |= {(alias.name,) for alias in node.names}
            elif (node.module or "").startswith("fairseq_ami."):
                names |= {(*node.module.split(".")[1:], alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.startswith("fairseq_ami.")}
    return names


def arrows() -> Set[Tuple[str, str, str]]:
    """(entry, entry that it imports, file)."""
    found = set()
    for entry, path in files():
        for name in imported(path):
            if name[0] != entry and name[0] not in ("__version__",):
                found.add((entry, name[0], str(path.relative_to(ROOT))))
    return found


def test_every_entry_has_a_floor():
    """A new folder must say where it stands."""
    assert {entry for entry, _ in files()} - set(FLOOR) == set()


def test_nothing_imports_upward():
    """Every arrow leads to a lower floor, or to a neighbour on the same one."""
    upward = {arrow for arrow in arrows() if FLOOR[arrow[1]] > FLOOR[arrow[0]]}
    assert upward == set()


def test_the_plugin_does_not_know_the_tools():
    """All that ``--user-dir`` needs is below; the tools are optional."""
    known = {arrow for arrow in arrows() if FLOOR[arrow[0]] < PLUGIN_ENDS <= FLOOR[arrow[1]]}
    assert known == set()


@pytest.mark.parametrize("top", ["", "tools"])
def test_no_ring(top):
    """No folder reaches itself through others: of the package, and of the tools."""
    reach: Dict[str, Set[str]] = {}
    for path in (ROOT / top).rglob("*.py"):
        parts = path.relative_to(ROOT / top).parts
        if len(parts) == 1 and parts[0] == "__init__.py":
            continue
        for name in imported(path):
            if not top or (name[0] == top and len(name) > 1):
                target = name[1] if top else name[0]
                if target != parts[0].removesuffix(".py"):
                    reach.setdefault(parts[0].removesuffix(".py"), set()).add(target)
    while True:
        longer = {a: b | set().union(*(reach.get(c, set()) for c in b)) for a, b in reach.items()}
        if longer == reach:
            break
        reach = longer
    assert [entry for entry, reached in reach.items() if entry in reached] == []
