"""Human evaluation: drawing and blinding, the judges' files, scores and agreement."""

import base64
import hashlib
import json
from html.parser import HTMLParser
from itertools import combinations
from math import comb

import numpy as np
import pytest

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.human_eval.page import render_page
from fairseq_ami.tools.human_eval.scoring import fleiss_kappa, sign_test
from fairseq_ami.tools.human_eval.sheet import Item, draw_items, turns_of

# Fleiss (1971) as the encyclopedias give it: 10 subjects, 14 raters, 5 categories, kappa 0.210
FOURTEEN_RATERS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
HOSTILE = "<!-- <script >window.hacked = 1</script> \"a\" 'b' </script> &amp; \u2028 \U0001f600 ${x} $data"


def texts(system, lines):
    return [f"{system} {line}" for line in range(lines)]


def drawn(lines=9, count=9, seed=1, pairs=(("x", "y"),), **options):
    replies = {name: texts(name * 3, lines) for pair in pairs for name in pair}
    return draw_items([[str(line)] for line in range(lines)], replies, pairs, count, seed, **options)


# ---------------------------------------------------------------------- statistics


def test_kappa_of_the_worked_example():
    assert fleiss_kappa(np.array(FOURTEEN_RATERS)) == pytest.approx(0.210, abs=5e-4)


def test_kappa_by_counting_pairs_of_judges():
    answers = np.random.default_rng(0).integers(0, 3, (40, 5))
    answers[:20] = answers[:20, :1]  # half of the items agree
    agree = np.mean([[a == b for a, b in combinations(row, 2)] for row in answers])
    chance = sum(np.mean(answers == category) ** 2 for category in range(3))
    counts = np.array([[list(row).count(category) for category in range(3)] for row in answers])
    assert fleiss_kappa(counts) == pytest.approx((agree - chance) / (1 - chance), abs=1e-12)


def test_kappa_is_one_or_undefined():
    assert fleiss_kappa(np.array([[3, 0, 0], [0, 0, 3]])) == 1
    for counts in ([[3, 0, 0]] * 2, [[1, 0, 0], [0, 1, 0]], np.zeros((0, 3)), np.zeros((4, 3))):
        assert fleiss_kappa(np.array(counts)) is None
    with pytest.raises(ValueError):
        fleiss_kappa(np.array([[3, 0, 0], [1, 1, 0]]))


@pytest.mark.parametrize("wins, losses", [(9, 2), (2, 9), (5, 5), (1, 0), (62, 24)])
def test_sign_test_by_summing_the_tail(wins, losses):
    n, least = wins + losses, min(wins, losses)
    assert sign_test(wins, losses) == pytest.approx(min(1, 2 * sum(comb(n, k) for k in range(least + 1)) / 2**n))


def test_sign_test_without_a_winner():
    assert sign_test(0, 0) == 1


# ---------------------------------------------------------------------- drawing


def test_sides_are_balanced_and_random():
    by_line, more_left = {}, 0
    for seed in range(400):
        lefts = [item.line for item in drawn(seed=seed) if item.left == "x"]
        assert len(lefts) in (4, 5)  # of 9
        more_left += len(lefts) == 5
        for line in lefts:
            by_line[line] = by_line.get(line, 0) + 1
    # each of the ten is binomial(400, 1/2): mean 200, standard deviation 10
    assert all(150 < count < 250 for count in [more_left, *by_line.values()]) and len(by_line) == 9


def test_replies_stand_where_the_key_says():
    for item in drawn(lines=30, count=20):
        assert item.turns == [str(item.line - 1)]
        sides = {"left": item.hidden()["left"], "right": item.hidden()["right"]}
        assert {*sides.values()} == {"x", "y"}
        for side, system in sides.items():
            assert item.shown()[side] == f"{system * 3} {item.line - 1}"


def test_the_draw_is_without_replacement_and_reproducible():
    items = drawn(lines=50, count=20)
    assert len({item.line for item in items}) == 20 and [item.number for item in items] == list(range(1, 21))
    assert items == drawn(lines=50, count=20) != drawn(lines=50, count=20, seed=2)
    often = [item.line for seed in range(300) for item in drawn(lines=5, count=2, seed=seed)]
    assert all(80 < often.count(line) < 160 for line in range(1, 6))  # binomial(300, 2/5): 120, deviation 8.5


def test_a_seed_draws_the_same_histories_for_other_systems():
    one, other = drawn(lines=50, count=20), drawn(lines=50, count=20, pairs=[("x", "z")])
    assert {item.line for item in one} == {item.line for item in other}
    assert [item.line for item in one] != [item.line for item in other]  # the order tells nothing of the sides


def test_who_knows_the_seed_alone_cannot_draw_the_sides_again():
    lefts = []
    for word in ("a", "b"):
        replies = {"x": texts("x", 30), "y": texts(word, 30)}
        items = draw_items([["h"]] * 30, replies, [("x", "y")], 30)
        lefts.append({item.line for item in items if item.left == "x"})
    assert lefts[0] != lefts[1]


def test_every_set_shows_every_history_once_and_its_share_of_the_pairs():
    pairs = [("x", "y"), ("x", "z"), ("y", "z")]
    items = drawn(lines=12, count=9, pairs=pairs)
    for number in (1, 2, 3):
        its = [item for item in items if item.set == number]
        assert len({item.line for item in its}) == len(its) == 9
        assert [sum(item.pair == pair for item in its) for pair in pairs] == [3, 3, 3]
    assert {(item.line, item.pair) for item in items} == {(i.line, pair) for i in items for pair in pairs}
    assert {item.set for item in drawn(pairs=pairs, sets=1)} == {1}


def test_identical_replies_are_kept_or_dropped():
    replies = {"x": ["same  words", "a", "b"], "y": ["same words ", "c", "d"]}
    for drop, left in ((False, [1, 2, 3]), (True, [2, 3])):
        items = draw_items([["h"]] * 3, replies, [("x", "y")], 3, drop_identical=drop)
        assert sorted(item.line for item in items) == left
        assert [item.line for item in items if item.identical] == [1] * (not drop)
    with pytest.raises(AMIError, match="x and y say the same"):
        draw_items([["h"]], {"x": ["a"], "y": ["a"]}, [("x", "y")], 1, drop_identical=True)


def test_turns():
    assert turns_of("a b __eou__ c __eou__", "__eou__") == ["a b", "c"] == turns_of("a b __eou__ c", "__eou__")
    assert turns_of("", "__eou__") == [] and turns_of("a || || b", "||") == ["a", "", "b"]


# ---------------------------------------------------------------------- pages


class Scripts(HTMLParser):
    """Attributes and contents of the script and style elements, as a browser splits them."""

    def __init__(self, page):
        super().__init__()
        self.found, self.policy = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "style"):
            self.found.append([tag, dict(attributes), ""])
        self.policy = self.policy or dict(attributes).get("content", "")

    def handle_data(self, data):
        if self.found and self.cdata_elem:
            self.found[-1][2] += data


def test_the_page_escapes_texts_and_allows_its_own_script_only():
    item = Item(1, 1, 1, ("x", "y"), "x", [HOSTILE], (HOSTILE, "b"))
    page = render_page("s1", HOSTILE, [item], 1)
    (style, data, script) = Scripts(page).found
    assert "<" not in data[2]
    assert json.loads(data[2]) == {"study": "s1", "set": 1, "sets": 1, "question": HOSTILE, "items": [item.shown()]}
    assert data[1]["type"] == "application/json" and script[1] == {}
    for kind, content in (("style", style[2]), ("script", script[2])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in Scripts(page).policy
    assert "http:" not in page and "https:" not in page
