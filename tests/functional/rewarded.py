"""Text without references, and reward functions of a user's own, for the tests of rewards."""

import multiprocessing
from pathlib import Path
from typing import Any, Dict, List

from functional.commands import run
from functional.corpus import pairs

MINE = '''"""Rewards of a user's own."""
import os


def brevity(sampled):
    """Few words, and none twice."""
    assert len(sampled.sources) == len(sampled.outputs) == len(sampled.output_ids)
    return [len(set(text.split())) / (1 + len(text.split()) ** 2) for text in sampled.outputs]


def seen(sampled):
    """Writes down which kind of text it got."""
    with open(os.environ["SEEN"], "a") as file:
        for index in range(0, len(sampled), sampled.samples_per_source):
            reference = "-" if sampled.references is None else sampled.references[index]
            file.write(f"{sampled.sources[index]}\\t{reference}\\n")
    return [0.1 * len(ids) for ids in sampled.output_ids]


def breaks(sampled):
    raise ValueError("no such\\nweather")


def nothing_finite(sampled):
    return [float("nan")] * len(sampled)


def too_few(sampled):
    return [0.0]


def no_numbers(sampled):
    return None
'''


def write_module(folder: Path) -> Path:
    """The module ``mine`` in *folder*."""
    (folder / "mine.py").write_text(MINE)
    return folder


def write_unlabelled(folder: Path, dictionaries: Dict[str, Path], count: int = 40) -> Path:
    """Sources without references, as fairseq-preprocess --only-source writes them; returns their prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.en").write_text("".join(source + "\n" for source, _ in pairs(count, 55)))
    options = ["-s", "en", "-t", "de", "--only-source", "--srcdict", dictionaries["en"], "--workers", 1]
    run("preprocess", [*options, "--trainpref", folder / "text", "--destdir", folder / "bin"], folder / "log")
    return folder / "bin" / "train"


def with_text(prefix: Path, *extra: Any) -> List[Any]:
    """The flags of --unlabelled."""
    return ["--unlabelled", prefix, *extra]


def may_have_children() -> None:
    """Let a command of the tests start processes that load data, as Linux does: it is one of a server's itself."""
    multiprocessing.current_process()._config["daemon"] = False
    multiprocessing.set_start_method("fork", force=True)
