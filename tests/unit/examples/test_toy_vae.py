"""The text VAE's demo corpus: its entropy counted, one way to make each sentence, the same bytes everywhere."""

import hashlib
import math
import sys
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import pytest

TOY = Path(__file__).resolve().parents[3] / "examples" / "toy_vae"
sys.path.insert(0, str(TOY))

from corpus import ORDERS, SCENES, draw, entropy, every_choice, global_information, slots, write_corpus  # noqa: E402


@pytest.fixture(scope="module")
def sentences():
    """Every sentence -> (scene, order)."""
    found = defaultdict(set)
    for choice in every_choice():
        found[choice.text].add((choice.scene, choice.order))
    return found


def test_entropy_counts_all_sentences(sentences):
    """8 scenes x 4 orders x (4 who x 3 does x 4 what x 3 where) x 8 traits, each made in one way only."""
    assert len(sentences) == 8 * 4 * (4 * 3 * 4 * 3) * 8 == sum(1 for _ in every_choice())
    assert entropy() == pytest.approx(math.log(36864))


def test_every_sentence_tells_scene_and_order(sentences):
    """I(scene, order; sentence) = H(scene, order) - H(scene, order | sentence), summed over all sentences."""
    assert all(len(sources) == 1 for sources in sentences.values())
    counts = Counter(source for sources in sentences.values() for source in sources)
    probabilities = [count / len(sentences) for count in counts.values()]
    assert global_information() == pytest.approx(-sum(p * math.log(p) for p in probabilities))
    assert global_information() == pytest.approx(5 * math.log(2))


def test_drawing_is_uniform():
    """Chi-square over the 32 pairs of scene and order: 31 degrees of freedom, 61.1 is the 99.9 % point."""
    rng = Random(3)
    drawn = Counter((choice.scene, choice.order) for choice in (draw(rng) for _ in range(6400)))
    assert len(drawn) == len(SCENES) * len(ORDERS)
    assert sum((count - 200) ** 2 / 200 for count in drawn.values()) < 61.1


def test_lexicon_is_well_formed():
    """A word belongs to one scene and one place, or a scene would not be told by every sentence."""
    words = [word for scene in SCENES for name, options in slots(scene).items() if name != "trait" for word in options]
    assert len(words) == len(set(words)) == 8 * (4 + 3 + 4 + 3)
    for scene in SCENES:
        assert [len(options) for options in slots(scene).values()] == [4, 3, 4, 3, 8]
    assert all(word.isalpha() and word.islower() for word in words)


def test_files(tmp_path):
    """The same bytes for the same seed, others for another; the scenes beside the sentences."""
    digests = set()
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_corpus(tmp_path / name, seed, {"train": 40, "valid": 7, "test": 9})
        files = sorted((tmp_path / name).iterdir())
        assert [file.name for file in files] == [
            "test", "test.scenes", "train", "train.scenes", "valid", "valid.scenes"
        ]  # fmt: skip
        digests.add(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
    assert len(digests) == 2
    text, scenes = ((tmp_path / "a" / name).read_text().splitlines() for name in ("test", "test.scenes"))
    assert len(text) == len(scenes) == 9
    for line, scene in zip(text, scenes):
        assert set(line.split()) & set(slots(scene)["who"])
