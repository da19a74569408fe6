"""Writes the demo corpus: English-German sentence pairs of the grammar in ``grammar.py``."""

import argparse
import os
import sys
from pathlib import Path
from random import Random
from typing import Dict, List, NamedTuple

from analysis import Sampler, german
from grammar import (
    ADJECTIVE,
    CONJUNCTION,
    MANNER,
    MODALS,
    NOUN,
    PREPOSITIONS,
    PRONOUNS,
    TIME,
    VERB,
    Clause,
    NounPhrase,
    Sentence,
    english,
)

MAX_TOKENS = 20
# Multiples of 8: fairseq 0.12 leaves out the rest unless --required-batch-size-multiple is 1.
TRAIN, VALID, TEST, SEED = 12000, 512, 512, 1


class Pair(NamedTuple):
    """An English sentence, one German translation, and whether that keeps all information."""

    source: str
    target: str
    specific: bool
    structure: Sentence


def _one(rng: Random, items):
    # Only random() is used: the other methods may change between Python versions.
    return items[int(rng.random() * len(items))]


def _draw_phrase(rng: Random, kinds: str, article: str = "", adjectives: float = 0.4) -> NounPhrase:
    key = _one(rng, [key for key, (kind, _) in NOUN.items() if kind in kinds.split()])
    kind, entry = NOUN[key]
    mass = entry.english[1] == "-"
    adjective = None
    if rng.random() < adjectives:
        fitting = [word for word, e in ADJECTIVE.items() if kind in e.features[0]]
        adjective = _one(rng, fitting) if fitting else None
    article = article or _one(rng, ("the", "my") if mass else ("the", "the", "a", "a", "my"))
    return NounPhrase(key, article, not mass and rng.random() < 0.3, adjective)


def draw_clause(rng: Random, frame: str, simple: bool = False) -> Clause:
    """A random clause; ``frame`` "that" asks for a verb that governs a "that" clause."""
    verbs = [word for word, e in VERB.items() if (e.features[1] == ("that",)) == (frame == "that")]
    verb = _one(rng, verbs)
    entry = VERB[verb]
    subjects, objects = (" ".join(kinds) for kinds in entry.features)
    subject = _draw_phrase(rng, subjects, adjectives=0.2 if simple else 0.4)
    if rng.random() < 0.25 and verb != "be":
        pronoun = _one(rng, tuple(PRONOUNS))
        subject = NounPhrase(pronoun, "pronoun", PRONOUNS[pronoun][1])
    allowed = ["present", "present", "past", "past", _one(rng, tuple(MODALS))]
    allowed = [t for t in allowed if (t in MODALS and verb != "be" and frame != "that")
               or t == "present" or (t == "past" and entry.english[2] != "-")]
    parts = {"tense": _one(rng, allowed)}
    parts["negated"] = rng.random() < 0.12 and parts["tense"] not in ("must", "may")
    if objects == "predicate":
        fitting = [w for w, e in ADJECTIVE.items() if NOUN[subject.noun][0] in e.features[0]]
        parts["predicate"] = _one(rng, fitting)
    elif objects.startswith("dative"):
        parts["recipient"] = _draw_phrase(rng, "person", _one(rng, ("the", "my")), 0.2)
    if objects not in ("", "that", "predicate"):
        parts["object"] = _draw_phrase(rng, objects, adjectives=0.0 if parts["negated"] else 0.4)
    if not simple:
        parts.update(_draw_adverbs(rng, parts))
    return Clause(subject, verb, **parts)


def _draw_adverbs(rng: Random, parts: dict) -> dict:
    adverbs = {}
    if rng.random() < 0.35:
        tense = "modal" if parts["tense"] in MODALS else parts["tense"]
        fitting = [word for word, entry in TIME.items() if tense in entry.features[0]]
        adverbs["time"] = _one(rng, fitting)
    if parts["negated"] or "recipient" in parts or "predicate" in parts:
        return adverbs  # what "nicht" negates would be unclear, or the clause long
    which = rng.random()
    if which < 0.3:
        adverbs["manner"] = _one(rng, tuple(MANNER))
    elif which < 0.55:
        adverbs["preposition"] = _one(rng, tuple(PREPOSITIONS))
        adverbs["place"] = _draw_phrase(rng, "place", "the", 0.2)
    return adverbs


def draw(rng: Random) -> Sentence:
    """A random sentence: three quarters are one clause, the others have a second one."""
    kind = rng.random()
    if kind >= 0.25:
        return Sentence(draw_clause(rng, ""))
    if kind < 0.08:
        return Sentence(draw_clause(rng, "that", simple=True), "that",
                        draw_clause(rng, "", simple=True))
    link = _one(rng, [word for word in CONJUNCTION if word != "that"])
    return Sentence(draw_clause(rng, "", simple=True), link, draw_clause(rng, "", simple=True))


def generate(num_sentences: int, seed: int, specific: bool = False) -> List[Pair]:
    """``num_sentences`` pairs, their sources all different; ``specific`` bars generic targets."""
    rng = Random(seed)
    pairs: Dict[str, Pair] = {}
    while len(pairs) < num_sentences:
        structure = draw(rng)
        source, choices = english(structure), Sampler(rng, specific)
        target = german(structure, choices)
        lengths = len(source.split()), len(target.split())
        if max(lengths) <= MAX_TOKENS and source not in pairs:
            pairs[source] = Pair(source, target, choices.informative, structure)
    return list(pairs.values())


def corpus_files(train: int, valid: int, test: int, seed: int,
                 specific_test: bool = False) -> Dict[str, bytes]:
    """File name to content. The test sentences come first, so its size alone changes them."""
    pairs = generate(test + valid + train, seed)
    parts = {"test": pairs[:test], "valid": pairs[test:test + valid], "train": pairs[test + valid:]}
    if specific_test:
        rng = Random(seed + 1)
        parts["test"] = [pair._replace(target=german(pair.structure, Sampler(rng, True)))
                         for pair in parts["test"]]
    return {f"{name}.{suffix}": "".join(pair[side] + "\n" for pair in part).encode()
            for name, part in parts.items() for side, suffix in enumerate(("en", "de"))}


def write_corpus(folder: Path, train: int = TRAIN, valid: int = VALID, test: int = TEST,
                 seed: int = SEED, specific_test: bool = False, overwrite: bool = False) -> None:
    """Write ``{train,valid,test}.{en,de}`` to ``folder``, each file in one step.

    A folder that holds anything else than this very corpus is refused with
    ``FileExistsError``; ``overwrite`` replaces the six files and leaves the others.
    """
    folder = Path(folder)
    files = corpus_files(train, valid, test, seed, specific_test)
    present = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    foreign = sorted(name for name, path in present.items()
                     if name not in files or not path.is_file()
                     or path.read_bytes() != files[name])
    if foreign and not overwrite:
        raise FileExistsError(f"{folder} holds something else ({', '.join(foreign[:3])}): "
                              "name an empty folder, or add --overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, folder / name)
        finally:
            if temporary.exists():
                temporary.unlink()


def main(arguments=None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write {train,valid,test}.{en,de}")
    parser.add_argument("--train", type=int, default=TRAIN, help="training pairs")
    parser.add_argument("--valid", type=int, default=VALID, help="validation pairs")
    parser.add_argument("--test", type=int, default=TEST, help="test pairs")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the random choices")
    parser.add_argument("--specific-test", action="store_true",
                        help="only fully informative references in the test set")
    parser.add_argument("--overwrite", action="store_true", help="replace files of another corpus")
    options = parser.parse_args(arguments)
    if min(options.train, options.valid, options.test) < 1:
        parser.error("--train, --valid and --test must be at least 1")
    try:
        write_corpus(**vars(options))
    except OSError as error:
        print(f"make_corpus.py: {error}", file=sys.stderr)
        return 1
    print(f"{options.train} + {options.valid} + {options.test} sentence pairs in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
