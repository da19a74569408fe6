"""Small trained pairs, and what the commands say about them, for the tests of export and hub."""

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

from functional.commands import PLUGIN, run
from functional.corpus import SOURCE_WORDS, TARGET_WORDS
from functional.settings import NETWORKS, ami_args, train

LANGUAGES = {"forward": ("en", "de"), "backward": ("de", "en")}
_pairs: Dict[Tuple[str, Path], Path] = {}


def trained_pair(home: Path, data: Path, kind: str) -> Path:
    """A checkpoint of ``transformer`` or ``lstm`` pairs after all three phases; trained once."""
    key = (kind, home)
    if key not in _pairs:
        folder = home / f"pair-{kind}"
        lrs = ["--pretrain-lr", "0.02", "--pretrain-warmup-updates", "1", "--noise-lr", "0.05", "--noise-scale", "1"]
        cycle = ["--pretrain-updates", "20", "--phase-cycle", "noise=2,forward=1,backward=1"]
        infomax = ["--infomax-dim", "8", "--infomax-weight", "0.1"] if kind == "transformer" else []
        train(folder, ami_args(data, folder, 24, *lrs, *cycle, *infomax, network=NETWORKS[kind]))
        _pairs[key] = folder / "checkpoint_last.pt"
    return _pairs[key]


def generate(data: Path, path: Path, direction: str, log: Path, *extra: Any, plugin: bool = False) -> str:
    """Everything that fairseq-generate prints; without the plugin unless asked for."""
    source, target = LANGUAGES[direction]
    argv = [data, "--path", path, "-s", source, "-t", target, "--gen-subset", "test", "--cpu", "--num-workers", 0]
    argv += ["--beam", 5, "--max-len-b", 20, "--batch-size", 5, *extra]
    argv += ["--required-batch-size-multiple", 1]  # by default fairseq drops a last batch that is no multiple of 8
    if plugin:
        argv += ["--user-dir", PLUGIN, "--task", "ami_translation"]
    results = log.with_suffix(".results")  # what goes to the terminal is mixed with the log
    text = run("generate", [*argv, "--results-path", results], log).text
    assert plugin or "fairseq_ami" not in text
    return (results / "generate-test.txt").read_text()


def lines(text: str, kind: str) -> List[str]:
    """The ``H-``, ``D-``, ``P-``, ... lines, in the order of the sentences."""
    found = re.findall(rf"^({kind}-\d+\t.*)$", text, re.MULTILINE)
    return sorted(found, key=lambda line: int(line.split("\t")[0][2:]))


def column(text: str, kind: str, index: int = -1) -> List[str]:
    return [line.split("\t")[index] for line in lines(text, kind)]


def write_codes(path: Path) -> Path:
    """Codes of subword-nmt that put the words of the toy corpus together."""
    merges = []
    for word in SOURCE_WORDS + TARGET_WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts = [parts[0] + parts[1], *parts[2:]]
    path.write_text("#version: 0.2\n" + "\n".join(dict.fromkeys(merges)) + "\n")
    return path
