"""The commands of the pages: every block of shell is played by bash with stand-ins that write down what they get.

So loops, variables and line continuations mean what they mean in a shell, and a word that is no stand-in is an error.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("*.md", "docs/**/*.md", "examples/*/*.md", "benchmarks/*.md")
FAIRSEQ = ("train", "generate", "validate", "preprocess", "interactive", "hydra-train")
CHECKED = (
    *(f"fairseq-{name}" for name in FAIRSEQ), "fairseq-ami", "make", "pip", "python", "python3", "sacremoses",
    "subword-nmt", "sacrebleu",
)  # fmt: skip
# tools of the system, whose arguments nobody checks
SYSTEM = ("cat", "cp", "cut", "grep", "head", "mkdir", "mv", "sort", "tee", "sbatch")
STAND_IN = """#!/bin/bash
name=${0##*/}
[ "$0" = "./$name" ] && name=./$name
IFS=$'\\x1f'
printf '%s\\n' "$name$IFS$*" >> "$PAGE_LOG"
[ "$*" = user-dir ] && echo "$PAGE_PLUGIN"
exit 0
"""


@dataclass(frozen=True)
class Block:
    """One block of shell: its page, its place among the page's blocks, and all blocks up to it."""

    page: str
    number: int
    text: str
    before: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"

    @property
    def folder(self) -> Path:
        return (ROOT / self.page).parent


def blocks_of(page: str) -> Iterator[Block]:
    before = ""
    found = re.findall(r"^```(?:bash|sh)\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    for number, text in enumerate(found):
        yield Block(page, number, text, before)
        before += text


def all_pages() -> List[str]:
    return sorted(str(path.relative_to(ROOT)) for pattern in PATTERNS for path in ROOT.glob(pattern))


def all_blocks() -> List[Block]:
    return [block for page in all_pages() for block in blocks_of(page)]


def without_files(text: str) -> str:
    """The same with nothing to read or write: ``< a > b`` becomes ``< /dev/null > /dev/null``."""
    text = re.sub(r"(?<![<&\d-])<\s*[\w$./{}-]+", "< /dev/null", text)
    return re.sub(r"(?<![>&\d-])>\s*[\w$./{}-]+", "> /dev/null", text)


def stand_ins(folder: Path, scripts: Sequence[str]) -> None:
    """Commands in ``folder/bin``, scripts of a recipe in the folder itself, and an environment to activate."""
    for path in [*(folder / "bin" / name for name in (*CHECKED, *SYSTEM)), *(folder / name for name in scripts)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        path.chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()


def assignments(text: str) -> str:
    """The lines of earlier blocks that set variables, which later blocks use; a value may go on over lines."""
    value = r"\"[^\"]*\"|'[^']*'|\S*"
    return "\n".join(match[0] for match in re.finditer(rf"^(?:export )?[A-Z]\w*=(?:{value})$", text, re.MULTILINE))


def recorded(block: Block, folder: Path) -> List[Tuple[str, List[str]]]:
    """Name and arguments of each command of a block, in the order of their start.

    Raises:
        AssertionError: the shell finds a command, a file or a construct that is not there.
    """
    stand_ins(folder, [path.name for path in block.folder.glob("*.sh")])
    script = without_files(assignments(block.before) + "\n" + block.text)
    environment = {"PATH": str(folder / "bin"), "PAGE_LOG": str(folder / "log"), "HOME": str(folder)}
    environment["PAGE_PLUGIN"] = str(ROOT / "fairseq_ami")
    (folder / "log").touch()
    done = subprocess.run(
        ["/bin/bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert not done.stderr, f"{block}: {done.stderr}"
    lines = (folder / "log").read_text().split("\n")[:-1]
    found = [(name, [arg for arg in args if arg]) for name, *args in (line.split("\x1f") for line in lines)]
    return [(name, args) for name, args in found if args != ["user-dir"]]


def variables_of(text: str) -> List[str]:
    """Names that a block gives values: ``A=1 ./x.sh`` and ``export B=2``."""
    return sorted(set(re.findall(r"(?:^|[\s;&(])([A-Z][A-Z_]+)=", text, re.MULTILINE)))


def environment_with(folder: Path) -> dict:
    """What commands need that run a page for real."""
    import sys

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"}
