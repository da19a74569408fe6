"""Drawing and blinding: which histories, which pairs of systems, and which reply stands on which side.

AMI, section 4.1: models are paired as opponents; 120 random histories and the replies of both go to 5 judges, who say
which is better; ties are permitted.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from fairseq_ami.errors import AMIError

ANSWERS = ("left", "right", "tie")
SPEAKERS = "AB"  # of the turns, in turn

Pair = Tuple[str, str]  # two systems; wins and losses are those of the first


def turns_of(history: str, separator: str) -> List[str]:
    """Turns of a history, oldest first; an end marker after the last turn makes no turn."""
    turns = [turn.strip() for turn in history.split(separator)]
    return turns if turns[-1] else turns[:-1]


def speaker(turn: int) -> str:
    """Who speaks turn number *turn*, counted from 0."""
    return SPEAKERS[turn % len(SPEAKERS)]


@dataclass(frozen=True)
class Item:
    """One judgement to make: a history and the replies of two systems."""

    number: int  # as the judges see it: from 1, through all sets
    set: int  # the judges' page it stands on, from 1
    line: int  # of the histories, from 1
    pair: Pair
    left: str  # the system whose reply stands on the left
    turns: Sequence[str]
    replies: Tuple[str, str]  # left, right

    @property
    def identical(self) -> bool:
        """Both systems say the same, white space aside."""
        return _same(*self.replies)

    def shown(self) -> Dict[str, Any]:
        """What a judge may see: neither the systems nor the line."""
        return {"item": self.number, "turns": list(self.turns), "left": self.replies[0], "right": self.replies[1]}

    def hidden(self) -> Dict[str, Any]:
        """What the key says of it."""
        right = self.pair[1 - self.pair.index(self.left)]
        sides = {"pair": list(self.pair), "left": self.left, "right": right}
        return {"item": self.number, "set": self.set, "line": self.line, **sides, "identical": self.identical}


def draw_lines(lines: int, count: int, seed: int) -> List[int]:
    """*count* different numbers below *lines*, in random order: the same for one seed, whatever the systems say.

    Raises:
        AMIError: fewer lines than that.
    """
    if count > lines:
        raise AMIError(f"{count} histories are to be drawn and there are {lines}: pass a --count up to that, or more")
    return Random(f"lines {seed}").sample(range(lines), count)


def draw_items(
    histories: Sequence[Sequence[str]],
    replies: Mapping[str, Sequence[str]],
    pairs: Sequence[Pair],
    count: int,
    seed: int = 1,
    sets: Optional[int] = None,
    drop_identical: bool = False,
) -> List[Item]:
    """Items of all pairs over the same *count* histories, in the order in which the judges see them.

    The items are dealt out to *sets* pages (default: one per pair) so that every page has its share of every pair. With
    the default every page shows every history once. Of a pair's items the first system is on the left in half of them,
    or half and one. Sides and order depend on the seed and on all texts and names, so that nobody who sees the pages
    alone can draw them again.

    Args:
        histories: turns of each history.
        replies: system -> a reply to each history.
        drop_identical: leave out the items whose two replies are the same (the rest is balanced).

    Raises:
        AMIError: fewer histories than *count*, or nothing left to judge of a pair or in a set.
    """
    lines = draw_lines(len(histories), count, seed)
    inputs = json.dumps([list(map(list, histories)), {name: list(texts) for name, texts in replies.items()}])
    generator = Random(f"sides {seed} {hashlib.sha256(inputs.encode()).hexdigest()}")
    sets = sets or len(pairs)
    dealt: List[List[Dict[str, Any]]] = [[] for _ in range(sets)]
    for shift, pair in enumerate(pairs):
        texts = [replies[name] for name in pair]
        places = list(enumerate(lines))
        kept = [(at, line) for at, line in places if not (drop_identical and _same(*(text[line] for text in texts)))]
        if not kept:
            raise AMIError(f"{' and '.join(pair)} say the same to all of the drawn histories: nothing is left to judge")
        for (at, line), side in zip(kept, _sides(len(kept), generator)):
            both = (texts[side][line], texts[1 - side][line])
            entry = {"line": line + 1, "pair": pair, "left": pair[side], "turns": histories[line], "replies": both}
            dealt[(at + shift) % sets].append(entry)
    items: List[Item] = []
    for number, entries in enumerate(dealt, 1):
        if not entries:
            raise AMIError(f"no item is left for set {number} of {sets}: draw more histories or make fewer sets")
        generator.shuffle(entries)
        items += [Item(number=len(items) + at, set=number, **entry) for at, entry in enumerate(entries, 1)]
    return items


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()


def _sides(items: int, generator: Random) -> List[int]:
    """0 and 1 equally often, as far as that goes, in random order."""
    odd = [generator.randrange(2)] if items % 2 else []
    sides = [0, 1] * (items // 2) + odd
    generator.shuffle(sides)
    return sides


def fingerprint(items: Sequence[Item], question: str) -> str:
    """A name that ties answers to their key. Made of what the judges see, so that it tells them nothing."""
    shown = json.dumps([question, [[item.set, item.shown()] for item in items]])
    return "s" + hashlib.sha256(shown.encode()).hexdigest()[:12]  # the letter: no spreadsheet takes it for a number


def make_key(items: Sequence[Item], pairs: Sequence[Pair], question: str, **about: Any) -> Dict[str, Any]:
    """The key: everything that the pages leave out. *about* is kept beside it (files, seed, ...)."""
    counts = Counter(item.set for item in items)
    sets = [counts[number] for number in sorted(counts)]
    content = {"study": fingerprint(items, question), "question": question, **about}
    return {**content, "sets": sets, "pairs": [list(pair) for pair in pairs], "items": [i.hidden() for i in items]}
