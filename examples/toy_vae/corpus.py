"""The demo's corpus: sentences whose scene and order of words are global, and whose entropy is known exactly.

A sentence is one of :data:`ORDERS` filled with words of one of :data:`SCENES` and a trait that all scenes share. Every
choice is uniform and every sentence can be made in one way only, so all of them are equally likely: the entropy of a
sentence is the logarithm of their number. Every sentence tells its scene and its order, so the entropy of these two is
their mutual information with it.

A language model needs no latent variable here: the first words tell scene and order, and it can remember them.
"""

import itertools
import math
from pathlib import Path
from random import Random
from typing import Dict, Iterator, List, NamedTuple, Sequence

# scene -> who / does / what / where, separated by commas
SCENES = {
    "kitchen": (
        "cook, baker, waiter, guest", "fried, salted, tasted",
        "bread, fish, soup, rice", "stove, oven, sink",
    ),
    "music": (
        "singer, drummer, pianist, choir", "hummed, played, practised",
        "song, waltz, hymn, melody", "stage, organ, piano",
    ),
    "sea": (
        "sailor, captain, diver, pirate", "steered, anchored, repaired",
        "boat, ship, raft, ferry", "beach, harbour, lighthouse",
    ),
    "school": (
        "teacher, pupil, tutor, headmaster", "explained, studied, copied",
        "lesson, poem, essay, sum", "blackboard, desk, library",
    ),
    "farm": (
        "farmer, shepherd, milkmaid, vet", "fed, chased, counted",
        "cow, sheep, goose, pig", "barn, pond, fence",
    ),
    "court": (
        "judge, lawyer, witness, clerk", "questioned, accused, cleared",
        "thief, suspect, banker, forger", "dock, jury, prison",
    ),
    "sport": (
        "striker, keeper, referee, coach", "kicked, tossed, caught",
        "ball, puck, javelin, discus", "goal, net, scoreboard",
    ),
    "clinic": (
        "doctor, nurse, surgeon, midwife", "examined, treated, bandaged",
        "patient, wound, arm, knee", "ward, ambulance, bed",
    ),
}  # fmt: skip
TRAITS = ("old", "young", "tall", "tired", "happy", "famous", "quiet", "lazy")
ORDERS = (
    "the {trait} {who} {does} the {what} near the {where} .",
    "near the {where} the {trait} {who} {does} the {what} .",
    "the {what} was {does} by the {trait} {who} near the {where} .",
    "who {does} the {what} near the {where} ? the {trait} {who} .",
)
SPLITS = {"train": 8000, "valid": 512, "test": 512}


class Choice(NamedTuple):
    """What a sentence is made of."""

    scene: str
    order: str
    words: Dict[str, str]

    @property
    def text(self) -> str:
        return self.order.format(**self.words)


def slots(scene: str) -> Dict[str, List[str]]:
    """The words that may stand in each place of an order."""
    own = [words.split(", ") for words in SCENES[scene]]
    return {**dict(zip(("who", "does", "what", "where"), own)), "trait": list(TRAITS)}


def entropy() -> float:
    """Of a sentence, in nats."""
    return math.log(sum(math.prod(map(len, slots(scene).values())) for scene in SCENES) * len(ORDERS))


def global_information() -> float:
    """Mutual information between a sentence and its scene and order, in nats: they are uniform, and it tells both."""
    return math.log(len(SCENES) * len(ORDERS))


def every_choice() -> Iterator[Choice]:
    """All sentences, once each."""
    for scene in SCENES:
        options = slots(scene)
        for order in ORDERS:
            for words in itertools.product(*options.values()):
                yield Choice(scene, order, dict(zip(options, words)))


def draw(rng: Random) -> Choice:
    """A random sentence."""

    def one(items: Sequence[str]) -> str:
        # only random() is used: the other methods may change between Python versions
        return items[int(rng.random() * len(items))]

    scene, order = one(list(SCENES)), one(ORDERS)
    return Choice(scene, order, {slot: one(words) for slot, words in slots(scene).items()})


def write_corpus(folder: Path, seed: int, sizes: Dict[str, int] = SPLITS) -> None:
    """Write each split and its scenes, ``SPLIT`` and ``SPLIT.scenes``, one line a sentence; they overlap by chance."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(seed)
    for split in sorted(sizes):
        drawn = [draw(rng) for _ in range(sizes[split])]
        (folder / split).write_text("".join(f"{choice.text}\n" for choice in drawn))
        (folder / f"{split}.scenes").write_text("".join(f"{choice.scene}\n" for choice in drawn))
