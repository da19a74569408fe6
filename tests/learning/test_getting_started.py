"""The commands of docs/getting_started.md and README.md, from raw text to BLEU, on a small corpus."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "toy"))

from make_corpus import write_corpus  # noqa: E402

pytestmark = pytest.mark.slow
SIZES = " ".join(
    f"--{side}-{name}"
    for side in ("encoder", "decoder")
    for name in ("layers 1", "embed-dim 32", "ffn-embed-dim 64", "attention-heads 2")
)
# what makes the commands short: text on the page -> text that is run
SHORT = {
    "--pretrain-updates 8000 --noise-updates 100": f"--pretrain-updates 4 --noise-updates 4 {SIZES}",
    "--max-tokens 4000": "--max-tokens 800 --cpu",
    "--max-update 10000": "--max-update 40",
    "-updates 500": "-updates 6",
    "--log-interval 50": "--log-interval 2",
    "learn-bpe -s 6000": "learn-bpe -s 100",
    "--beam 5 ": "--beam 1 --cpu --max-len-b 20 ",
    '{"beam": 5}': '{"beam": 1, "max_len_b": 10}',
}


def commands(page: str, heading: str) -> str:
    """The bash blocks below a heading."""
    text = (ROOT / page).read_text()
    text = text[text.index(heading) :]
    return "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def run(folder: Path, script: str) -> str:
    """Run a script, each of its commands made short, and stop at the first that fails."""
    used = [long for long in SHORT if long in script]
    for long in used:
        script = script.replace(long, SHORT[long])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (folder / "run.sh").write_text("set -euo pipefail\n" + script)
    done = subprocess.run(["bash", "run.sh"], cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "raw", train=400, valid=30, test=30, seed=1)
    return tmp_path


def test_getting_started(folder: Path) -> None:
    printed = run(folder, commands("docs/getting_started.md", "## 2."))
    assert re.search(r'"name": "BLEU",\s+"score": [\d.]+', printed)
    assert len((folder / "test.de").read_text().splitlines()) == 30
    assert len((folder / "plain.de").read_text().splitlines()) == 30
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (folder / "en-de").iterdir()} >= {"model.pt", "dict.en.txt", "dict.de.txt"}
    assert (folder / "average.pt").is_file() and (folder / "pair.tar.gz").is_file()
    assert any((folder / "tensorboard").rglob("events.out.*"))


def test_readme(folder: Path) -> None:
    script = commands("README.md", "## Train on your own text")
    assert '"name": "chrF2"' in run(folder, script)
