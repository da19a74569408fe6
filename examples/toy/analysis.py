"""The German side of the demo corpus, and what a translation output is.

Two kinds of choice lead from a sentence to a translation, and the second is
what makes mutual information matter:

* wording: synonyms, a fronted time adverbial or subordinate clause;
* genericity: a hypernym ("Hund" for "poodle"), a dropped adjective, adverb or
  time, "jemand", "etwas" or "dort". Wherever a generic wording exists it has
  probability ``GENERIC_SHARE`` (``PRONOUN_SHARE`` for "jemand" and "etwas"),
  and the informative synonyms share the rest. A word with two informative
  synonyms therefore has a generic wording as its most likely translation:
  maximum likelihood prefers it, although it cannot be translated back.
"""

import re
from functools import lru_cache
from random import Random
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

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
    parse,
)

GENERIC_SHARE = 0.45
PRONOUN_SHARE = 0.2
INDEFINITE = {"n": "jemand", "a": "jemanden", "d": "jemandem"}
ARTICLES = {  # definite and ein-word endings, by gender (p: plural) and case
    "def": {"m": ("der", "den", "dem"), "f": ("die", "die", "der"), "n": ("das", "das", "dem"),
            "p": ("die", "die", "den")},
    "ein": {"m": ("", "en", "em"), "f": ("e", "e", "er"), "n": ("", "", "em"),
            "p": ("e", "e", "en")},
}


class Choices:
    """Picks among German options; ``informative`` turns false at the first generic pick."""

    def __init__(self) -> None:
        self.informative = True

    def index(self, weights: Sequence[float], generic_from: int) -> int:
        """The option to take; those from ``generic_from`` on are generic."""
        raise NotImplementedError

    def pick(self, specific: Sequence, generic: Sequence = (), share: float = GENERIC_SHARE):
        """One option; the generic ones have probability ``share`` together."""
        weights = [(1 - share if generic else 1) / len(specific)] * len(specific)
        weights += [share / len(generic) for _ in generic]
        chosen = self.index(weights, len(specific)) if len(weights) > 1 else 0
        self.informative &= chosen < len(specific)
        return [*specific, *generic][chosen]


def _article(article: str, gender: str, case: int, negated: bool) -> str:
    if article == "the":
        return ARTICLES["def"][gender][case]
    if article == "a" and not negated:
        return "" if gender == "p" else "ein" + ARTICLES["ein"][gender][case]
    return ("kein" if negated else "mein") + ARTICLES["ein"][gender][case]


def _ending(article: str, gender: str, case: int) -> str:
    """The adjective ending: weak after "der", mixed after "ein", strong without article."""
    if case == 2 or (gender == "m" and case == 1):
        return "en"
    if gender == "p":
        return "en" if article else "e"
    if article in ("ein", "mein", "kein"):
        return "er" if gender == "m" else "es"
    return "e"


def noun_phrase(phrase: NounPhrase, case: str, choices: Choices, negated: bool = False) -> str:
    """German nominative ("n"), accusative ("a") or dative ("d"); ``negated`` gives "kein"."""
    if phrase.article == "pronoun":
        return PRONOUNS[phrase.noun][0]
    kind, noun = NOUN[phrase.noun]
    if phrase.article == "a" and not phrase.plural and not negated:
        vague = {"person": INDEFINITE[case]}.get(kind, None if kind == "animal" else "etwas")
        pronoun = choices.pick([None], [vague] if vague else [], PRONOUN_SHARE)
        if pronoun:
            return pronoun
    word, gender, plural = choices.pick(noun.specific, () if negated else noun.generic)
    number = "nad".index(case)
    if phrase.plural:
        word = plural + ("n" if case == "d" and plural[-1] not in "ns" else "")
    elif gender == "w" and case != "n":
        word = plural
    gender = "p" if phrase.plural else gender.replace("w", "m")
    article = _article(phrase.article, gender, number, negated)
    adjective = ""
    if phrase.adjective:
        entry = ADJECTIVE[phrase.adjective]
        option = choices.pick(entry.specific, () if negated else (*entry.generic, ("",)))
        stem = option[0].split(",")[-1]
        adjective = stem + _ending(article, gender, number) if stem else ""
    return " ".join(part for part in (article, adjective, word) if part)


def _verb(clause: Clause, choices: Choices) -> Tuple[str, List[str], str]:
    """The finite verb, the verbal words at the end of the clause, the governed case."""
    entry = VERB[clause.verb]
    infinitive, third, participle, *governed = choices.pick(entry.specific, entry.generic)
    prefix, _, stem = infinitive.rpartition("+")
    plural, case = clause.subject.plural, governed[0] if governed else "a"
    if clause.tense in MODALS:
        return MODALS[clause.tense][plural], [prefix + stem], case
    if clause.verb == "be":
        return (("ist", "sind"), ("war", "waren"))[clause.tense == "past"][plural], [], case
    if clause.tense == "past":
        auxiliary = ("ist", "sind") if participle[0] == "*" else ("hat", "haben")
        return auxiliary[plural], [prefix + participle.lstrip("*")], case
    return stem if plural else third, [prefix] if prefix else [], case


def _objects(clause: Clause, governed: str, choices: Choices) -> Tuple[List[str], List[str]]:
    """Definite objects, which go before the adverbs, and the others, which follow them."""
    early, late = [], []
    preposition, _, case = governed.rpartition(":")
    for phrase, its_case in ((clause.recipient, "d"), (clause.object, case)):
        if phrase is not None:
            negated = clause.negated and phrase.article == "a" and not preposition
            text = noun_phrase(phrase, its_case, choices, negated)
            definite = phrase.article != "a" and not preposition
            (early if definite else late).append(f"{preposition} {text}".strip())
    return early, late


def _place(clause: Clause, choices: Choices) -> str:
    if clause.place is None:
        return ""
    if choices.pick([False], [True]):
        return "dort"
    text = f"{PREPOSITIONS[clause.preposition]} {noun_phrase(clause.place, 'd', choices)}"
    return "im" + text[len("in dem"):] if text.startswith("in dem ") else text


def german_clause(clause: Clause, order: str, choices: Choices) -> str:
    """One German clause; ``order`` is "main", "inverted" (after a clause) or "final"."""
    subject = noun_phrase(clause.subject, "n", choices)
    finite, tail, governed = _verb(clause, choices)
    early, late = _objects(clause, governed, choices)
    time = manner = ""
    if clause.time:
        time = choices.pick(TIME[clause.time].specific, [("",)])[0].replace("_", " ")
    if clause.manner:
        manner = choices.pick(MANNER[clause.manner].specific, [("",)])[0]
    if clause.predicate:
        entry = ADJECTIVE[clause.predicate]
        late.append(choices.pick(entry.specific, entry.generic)[0].split(",")[0])
    kein = clause.object is not None and clause.object.article == "a" and ":" not in governed
    not_ = "nicht" if clause.negated and not kein else ""
    front = bool(time) and order == "main" and choices.pick([True, False])
    middle = ["" if front else time, *early, not_, manner, _place(clause, choices), *late]
    if order == "final":
        joined = clause.tense == "present" and tail
        words = [subject, *middle, tail[0] + finite if joined else " ".join([*tail, finite])]
    elif front or order == "inverted":
        words = [time if front else "", finite, subject, *middle, *tail]
    else:
        words = [subject, finite, *middle, *tail]
    return " ".join(word for word in words if word)


def german(sentence: Sentence, choices: Choices) -> str:
    """The German side, worded by ``choices``."""
    if sentence.sub is None:
        return german_clause(sentence.main, "main", choices) + " ."
    link = choices.pick(CONJUNCTION[sentence.link].specific)[0]
    sub = f"{link} {german_clause(sentence.sub, 'final', choices)}"
    if sentence.link != "that" and choices.pick([False, True]):
        return f"{sub} , {german_clause(sentence.main, 'inverted', choices)} ."
    return f"{german_clause(sentence.main, 'main', choices)} , {sub} ."


class Sampler(Choices):
    """Picks at random; with ``specific`` it never takes a generic option."""

    def __init__(self, rng: Random, specific: bool = False) -> None:
        super().__init__()
        self.rng, self.specific = rng, specific

    def index(self, weights: Sequence[float], generic_from: int) -> int:
        allowed = weights[:generic_from] if self.specific else weights
        total = 0.0
        for weight in allowed:  # sum() rounds otherwise from Python 3.12 on
            total += weight
        point = self.rng.random() * total
        for number, weight in enumerate(allowed):
            point -= weight
            if point < 0:
                return number
        return len(allowed) - 1


class _Walk(Choices):
    """Follows a list of picks; beyond its end takes the first option and notes the width."""

    def __init__(self, path: List[int]) -> None:
        super().__init__()
        self.path, self.widths = path, []

    def index(self, weights: Sequence[float], generic_from: int) -> int:
        if len(self.widths) == len(self.path):
            self.path.append(0)
        self.widths.append(len(weights))
        return self.path[len(self.widths) - 1]


def _enumerate(render: Callable[[Choices], str]) -> Dict[str, bool]:
    """Every text ``render(choices)`` can give, with whether it can be fully informative."""
    found: Dict[str, bool] = {}
    path: List[int] = []
    while True:
        walk = _Walk(path)
        text = render(walk)
        found[text] = found.get(text, False) or walk.informative
        while path and path[-1] + 1 == walk.widths[len(path) - 1]:
            path.pop()
        if not path:
            return found
        path[-1] += 1


@lru_cache(maxsize=4096)
def _clause_texts(clause: Clause, order: str) -> Dict[str, bool]:
    return _enumerate(lambda choices: german_clause(clause, order, choices))


def _frames(sentence: Sentence) -> Iterator[Tuple[str, Dict[str, bool], Dict[str, bool]]]:
    """The ways to join the clauses: a pattern with two holes and what may fill each."""
    main = _clause_texts(sentence.main, "main")
    if sentence.sub is None:
        yield "{}{} .", main, {"": True}
        return
    sub = _clause_texts(sentence.sub, "final")
    for (link,) in CONJUNCTION[sentence.link].specific:
        yield "{} , " + link + " {} .", main, sub
        if sentence.link != "that":
            yield link + " {} , {} .", sub, _clause_texts(sentence.main, "inverted")


def all_translations(sentence: Sentence, specific_only: bool = False) -> Iterator[Tuple[str, bool]]:
    """Every valid German translation, with whether it keeps all the information.

    A long sentence has some hundred thousand: take as many as are needed.
    """
    for pattern, first, second in _frames(sentence):
        for start, start_ok in first.items():
            for end, end_ok in second.items():
                if (start_ok and end_ok) or not specific_only:
                    yield pattern.format(start, end), start_ok and end_ok


def references(source: str, draws: int = 50) -> List[str]:
    """Fully informative translations, ``draws`` random ones less the repeated, for a
    multi-reference score; the same list each time."""
    sentence, rng = parse(source), Random(0)
    return list(dict.fromkeys(german(sentence, Sampler(rng, True)) for _ in range(draws)))


def judge(source: str, output: str) -> str:
    """"informative", "generic" (valid, but information is lost) or "wrong"."""
    best = "wrong"
    for pattern, first, second in _frames(parse(source)):
        match = re.fullmatch("(.*)".join(map(re.escape, pattern.split("{}"))), output)
        if match and match[1] in first and match[2] in second:
            if first[match[1]] and second[match[2]]:
                return "informative"
            best = "generic"
    return best


def shares(sources: Sequence[str], outputs: Sequence[str]) -> Dict[str, float]:
    """The share of "informative", "generic" and "wrong" outputs."""
    if not sources or len(sources) != len(outputs):
        raise ValueError(f"{len(sources)} sources and {len(outputs)} outputs")
    verdicts = [judge(*pair) for pair in zip(sources, outputs)]
    return {kind: verdicts.count(kind) / len(verdicts)
            for kind in ("informative", "generic", "wrong")}
