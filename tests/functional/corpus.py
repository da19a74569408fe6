"""Toy parallel corpora: a word-by-word translation, with fewer words on the target side."""

import random
from pathlib import Path
from typing import List, Sequence, Tuple

from functional.commands import run

SOURCE_WORDS = [f"s{i}" for i in range(20)]
TARGET_WORDS = [f"t{i}" for i in range(13)]


def pairs(count: int, seed: int, lengths: Tuple[int, int] = (2, 6)) -> List[Tuple[str, str]]:
    """Sentences of frequent and rare words, and their translations."""
    rng = random.Random(seed)
    weights = [1.0 / (i + 1) for i in range(len(SOURCE_WORDS))]
    found = []
    for _ in range(count):
        words = rng.choices(range(len(SOURCE_WORDS)), weights, k=rng.randint(*lengths))
        target = [TARGET_WORDS[word % len(TARGET_WORDS)] for word in words]
        found.append((" ".join(SOURCE_WORDS[word] for word in words), " ".join(target)))
    return found


def write_pairs(folder: Path, name: str, lines: Sequence[Tuple[str, str]]) -> Path:
    """``name.en`` and ``name.de`` under *folder*; returns their common prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, language in enumerate(("en", "de")):
        (folder / f"{name}.{language}").write_text("".join(pair[side] + "\n" for pair in lines))
    return folder / name


def write_dictionary(path: Path, words: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word} 1\n" for word in words))
    return path


def binarise(folder: Path, train: Sequence[Tuple[str, str]], source: Path, target: Path) -> Path:
    """fairseq-preprocess with fixed dictionaries; 12 sentences each for validation and test."""
    text = folder / "text"
    prefixes = [write_pairs(text, "train", train)]
    prefixes += [write_pairs(text, name, pairs(12, seed)) for name, seed in (("valid", 101), ("test", 102))]
    options = [f"--{name}pref={prefix}" for name, prefix in zip(("train", "valid", "test"), prefixes)]
    options += ["-s", "en", "-t", "de", "--srcdict", source, "--tgtdict", target, "--workers", 1]
    run("preprocess", [*options, "--destdir", folder / "bin"], folder / "preprocess.log")
    return folder / "bin"
