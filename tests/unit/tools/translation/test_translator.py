"""Order, numbering and messages of the translator, with an engine whose every number is written down here."""

import pytest
import torch
from fairseq.data import Dictionary

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.formats.search import Found, Search
from fairseq_ami.tools.translation.translator import Reranking, Translator


def words(*names):
    found = Dictionary()
    for name in names:
        found.add_symbol(name)
    return found


class Listed:
    """Finds three hypotheses for every source, and gives log-probabilities from a table."""

    def __init__(self, source, target, table=None):
        self.source_dictionary, self.target_dictionary, self.table = source, target, table
        self.asked = []

    def encode(self, text):
        return self.source_dictionary.encode_line(text, add_if_not_exist=False).long()

    def decode(self, tokens):
        return self.target_dictionary.string(tokens)

    def max_positions(self):
        return 4, 9

    def search(self, sources, how):
        self.asked.append(how)
        lists = [("x", -1.0), ("x y", -1.5), ("y", -4.0)]
        rows = [(self.target_dictionary.encode_line(t, add_if_not_exist=False).long(), p) for t, p in lists]
        return [[Found(tokens, p / len(tokens), p) for tokens, p in rows][: how.nbest] for _ in sources]

    def log_probs(self, sources, targets):
        return [self.table[self.source_dictionary.string(source)] for source in sources]


@pytest.fixture
def forward():
    return Listed(words("a", "b"), words("x", "y"))


@pytest.fixture
def backward(forward):
    return Listed(forward.target_dictionary, forward.source_dictionary, {"x": -6.0, "x y": -3.0, "y": -0.3})


def test_order_of_the_search(forward):
    (found,) = Translator(forward, Search(nbest=2)).translate(["a b"])
    assert [(row.text, row.score, row.log_p, row.log_q) for row in found] == [
        ("x", -0.5, -1.0, None),
        ("x y", -0.5, -1.5, None),
    ]


@pytest.mark.parametrize(
    "weight, length_weight, order",
    [
        (0.0, 0.0, ["x", "x y", "y"]),
        (0.3, 0.0, ["x y", "x", "y"]),
        (2.0, 0.0, ["y", "x y", "x"]),
        (0.3, -6.0, ["x", "y", "x y"]),
    ],
)
def test_reranked_order(forward, backward, weight, length_weight, order):
    """log P / |T'| + weight * log Q / |S| + length_weight * |T'| / |S|; |S| is 3 with the end symbol."""
    asked = Reranking(backward, weight, length_weight)
    (found,) = Translator(forward, Search(beam=3, nbest=3), asked).translate(["a b"])
    assert [row.text for row in found] == order
    values = {"x": (-1.0, 2, -6.0), "x y": (-1.5, 3, -3.0), "y": (-4.0, 2, -0.3)}
    for row in found:
        log_p, length, log_q = values[row.text]
        assert (row.log_p, row.log_q) == (log_p, log_q)
        assert row.score == pytest.approx(log_p / length + weight * log_q / 3 + length_weight * length / 3)


def test_the_choice_is_among_the_whole_beam(forward, backward):
    """Though one hypothesis is asked for."""
    (found,) = Translator(forward, Search(beam=3, nbest=1), Reranking(backward, 2.0)).translate(["a b"])
    assert [row.text for row in found] == ["y"]


def test_hypotheses_are_no_longer_than_the_backward_network_reads(forward, backward):
    Translator(forward, Search(), Reranking(backward, 1.0)).translate(["a"])
    assert forward.asked[0].max_len_b == 4 - 1


def test_empty_lines_stay_empty(forward, backward):
    found = Translator(forward, Search(nbest=2)).translate(["", "a", " "])
    assert [len(row) for row in found] == [0, 2, 0]
    assert Translator(forward, Search(), Reranking(backward, 1.0)).translate([" "]) == [[]]


def test_lines_are_numbered_in_the_whole_text(forward):
    with pytest.raises(AMIError, match="line 12 has 5 symbols, the network reads 4"):
        Translator(forward, Search()).translate(["a", "a a a a"], first=10)
    Translator(forward, Search()).translate(["a"], first=10)
    assert forward.asked[-1].first == 10


def test_backward_network_of_other_dictionaries(forward):
    other = Listed(forward.target_dictionary, words("a", "c"))
    with pytest.raises(AMIError, match="other dictionaries"):
        Translator(forward, Search(), Reranking(other, 1.0))


def test_ids_have_the_end_symbol(forward):
    assert forward.encode("a b").tolist() == [4, 5, 2] and torch.is_tensor(forward.encode(""))
