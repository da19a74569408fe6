"""Embedding metrics by hand and against gensim; reading and training of word vectors."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors

from fairseq_ami.errors import AMIError
from fairseq_ami.metrics import embedding
from fairseq_ami.metrics.embedding import embedding_average, embedding_scores
from fairseq_ami.metrics.word_vectors import WordVectors, read_vectors, train_vectors

ROOT = Path(__file__).resolve().parents[3]
TABLE = {"x": (1, 0), "y": (0, 1), "u": (3, 4), "m": (-2, 0), "o": (0, 0)}
VECTORS = WordVectors({word: row for row, word in enumerate(TABLE)}, np.array(list(TABLE.values()), float), "by hand")
WORDS = [f"w{number}" for number in range(40)]


def score(metric, reply, reference):
    values = metric([reply.split()], [reference.split()], VECTORS)
    return pytest.approx(values.squeeze(-1), abs=1e-15)


@pytest.fixture(scope="module")
def stock():
    """gensim's vectors, and ours of the same numbers."""
    matrix = np.random.default_rng(0).normal(size=(len(WORDS), 7))
    keyed = KeyedVectors(7)
    keyed.add_vectors(WORDS, matrix)
    return keyed, WordVectors(keyed.key_to_index, keyed.vectors.astype(np.float64), "stock")


@pytest.fixture(scope="module")
def texts():
    """Replies and references of 0 to 12 words, some of them unknown."""
    draw = random.Random(0)
    make = [[draw.choices([*WORDS, "unknown"], k=draw.randint(0, 12)) for _ in range(300)] for _ in range(2)]
    make[0][:3], make[1][2:5] = [[], ["unknown"], ["w1"]], [["w1"], [], ["unknown", "unknown"]]
    return make


@pytest.mark.parametrize(
    "reply, reference, average, greedy, extrema",
    [
        ("x", "x", 1, 1, 1),
        ("x", "y", 0, 0, 0),
        ("x", "m", -1, -1, -1),  # no floor at 0
        ("x", "u", 0.6, 0.6, 0.6),
        # sums (1, 1) and (3, 4); x is best met by u at 0.6, y at 0.8, u by y at 0.8; extremes (1, 1) and (3, 4)
        ("x y", "u", 7 / 5 / 2**0.5, (0.7 + 0.8) / 2, 7 / 5 / 2**0.5),
        # sums (2, 1) and (-1, 0); x and x meet x at 1, y both at 0: 2/3; back x at 1, m at 0: 1/2;
        # extremes (1, 1) and (-2, 0)
        ("x x y", "x m", -2 / 5**0.5, (2 / 3 + 1 / 2) / 2, -1 / 2**0.5),
        ("x unknown", "u", 0.6, 0.6, 0.6),
        ("o", "x", 0, 0, 0),  # a zero vector is like nothing
        ("", "x", 0, 0, 0),
        ("unknown", "x", 0, 0, 0),
        ("x", "unknown", 0, 0, 0),
        ("", "", 0, 0, 0),
    ],
)
def test_by_hand(reply, reference, average, greedy, extrema):
    assert average == score(embedding_average, reply, reference)
    assert (average, greedy, extrema) == score(embedding_scores, reply, reference)


def test_the_positive_one_of_two_extremes():
    vectors = WordVectors({"a": 0, "b": 1}, np.array([[2.0, 1.0], [-2.0, 1.0]]), "tie")
    assert embedding_scores([["a", "b"], ["b", "a"]], [["a"], ["a"]], vectors)[2] == pytest.approx([1, 1])


def test_negative_extremes_are_not_lost_to_padding():
    vectors = WordVectors({"a": 0, "b": 1}, np.array([[-1.0, -3.0], [-2.0, -1.0]]), "negative")
    found = embedding_scores([["a"], ["a", "b"]], [["a"], ["b"]], vectors)[2]  # (-2, -3) against (-2, -1)
    assert found == pytest.approx([1, 7 / 65**0.5])


def test_average_and_greedy_against_gensim(stock, texts):
    keyed, ours = stock
    average, greedy, _ = embedding_scores(*texts, ours)
    assert np.array_equal(average, embedding_average(*texts, ours))
    for index, (reply, reference) in enumerate(zip(*texts)):
        known = [[word for word in words if word in keyed] for words in (reply, reference)]
        if not all(known):
            assert average[index] == greedy[index] == 0
            continue
        cosines = np.array([[keyed.similarity(one, two) for two in known[1]] for one in known[0]])
        best = (cosines.max(axis=1).mean() + cosines.max(axis=0).mean()) / 2
        assert average[index] == pytest.approx(keyed.n_similarity(*known), abs=1e-5)  # gensim's are float32
        assert greedy[index] == pytest.approx(best, abs=1e-5)


def test_extrema_against_a_loop(stock, texts):
    _, ours = stock
    for value, reply, reference in zip(embedding_scores(*texts, ours)[2], *texts):
        extremes = []
        for words in (reply, reference):
            columns = zip(*(ours.matrix[ours.index[word]] for word in words if word in ours.index))
            extremes.append([max(column, key=abs) for column in columns])
        norms = [sum(number**2 for number in side) ** 0.5 for side in extremes]
        expected = sum(map(np.multiply, *extremes)) / (norms[0] * norms[1]) if all(norms) else 0
        assert value == pytest.approx(expected, abs=1e-14)


def test_the_batches_make_no_difference(stock, texts, monkeypatch):
    whole = embedding_scores(*texts, stock[1])
    monkeypatch.setattr(embedding, "_NUMBERS_A_BATCH", 100)
    assert embedding_scores(*texts, stock[1]) == pytest.approx(whole, abs=1e-14)
    monkeypatch.setattr(embedding, "_PAIRS_A_BATCH", 7)
    assert embedding_scores(*texts, stock[1]) == pytest.approx(whole, abs=1e-14)


def test_nothing_and_unequal_numbers():
    assert embedding_scores([], [], VECTORS).shape == (3, 0)
    with pytest.raises(ValueError, match="2 hypotheses for 1 references"):
        embedding_average([["x"], ["y"]], [["x"]], VECTORS)


# ---------------------------------------------------------------------- files of word vectors


def written(tmp_path, content):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("header", [True, False])
def test_files_that_gensim_writes(stock, tmp_path, header):
    keyed, _ = stock
    path = str(tmp_path / "vectors.txt")
    keyed.save_word2vec_format(path, write_header=header)
    read = read_vectors(path, {"w3", "w1", "absent"})
    again = KeyedVectors.load_word2vec_format(path, no_header=not header)
    assert set(read.index) == {"w1", "w3"} and read.matrix.shape == (2, 7)
    for word, row in read.index.items():
        assert np.array_equal(read.matrix[row].astype(np.float32), again[word])
    assert path in read.name and "7 dimensions" in read.name


@pytest.mark.parametrize(
    "content",
    [
        "a 1 2\nb 3 4\n",
        "2 2\na 1 2\nb 3 4\n",
        "a 1 2 \nb 3 4 \n",  # word2vec.c ends lines with a space
        "a\t1\t2\r\nb\t3\t4\r\n",
        "a 1 2\n. . 5 6\nat x@y.z 7 8\nb 3 4",  # GloVe 840B has words of several tokens
        b"\xff\xfe 9 9\na 1 2\nb 3 4\n",  # a damaged word that nobody asks for
        "a 1 2\nb 3 4\na 5 6\n",  # the first of equal words
    ],
)
def test_kinds_of_text_files(tmp_path, content):
    read = read_vectors(written(tmp_path, content), ["a", "b"])
    assert {word: read.matrix[row].tolist() for word, row in read.index.items()} == {"a": [1, 2], "b": [3, 4]}


@pytest.mark.parametrize(
    "content, message",
    [
        ("a 1 2\nb 3 4\nc 5\n", "line 3: 1 numbers instead of 2"),
        ("a 1 2\nc 5 6 7\n", "line 2: 3 numbers instead of 2"),
        ("2 3\na 1 2\n", "line 2: 2 numbers instead of 3"),
        ("a 1 2\n\nb 3 4\n", "line 2: 0 numbers"),
        ("a\n", "line 1: 0 numbers instead of at least one"),
        ("a 1 two\n", "line 1: not a word and 2 finite numbers"),
        ("a 1 nan\n", "line 1: not a word and 2 finite numbers"),
        ("3 2\na 1 2\nb 3 4\n", "cut off: 2 of the 3 vectors"),
        ("c 1 2\n", "none of the 2 words of the texts occurs"),
        ("", "empty"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(AMIError, match=message) as error:
        read_vectors(path, ["a", "b"])
    assert path in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(AMIError, match="absent.txt cannot be read"):
        read_vectors(str(tmp_path / "absent.txt"), ["a"])


# ---------------------------------------------------------------------- trained vectors

TRAIN = """
from fairseq_ami.metrics.word_vectors import train_vectors
found = train_vectors([["a", "b", "c"], ["b", "d"]] * 50, "text", dimensions=5, epochs=2)
result = dict(found.index), found.matrix.tolist()
"""


def test_training_does_not_depend_on_the_process_and_its_hash_seed():
    here = {}
    exec(TRAIN, here)
    env = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRAIN + "print(result)"]
    there = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert there.splitlines()[-1] == str(here["result"])


def test_trained_vectors_know_all_words_and_say_where_they_are_from():
    found = train_vectors([["a", "b"], ["c"], []], "replies.txt", dimensions=3, epochs=1, seed=4)
    assert set(found.index) == {"a", "b", "c"} and found.matrix.shape == (3, 3)
    assert all(part in found.name for part in ("replies.txt", "gensim", "3 dimensions", "seed 4"))


def test_training_without_words_or_gensim(monkeypatch):
    with pytest.raises(AMIError, match="nothing.txt has no words"):
        train_vectors([[], []], "nothing.txt")
    monkeypatch.setitem(sys.modules, "gensim", None)
    with pytest.raises(AMIError, match=r"fairseq_ami\[vectors\]"):
        train_vectors([["a"]], "text")
