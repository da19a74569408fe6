"""Reading the n-best lists that ``fairseq-generate`` printed: units, order, and files that do not fit."""

import math

import pytest
import torch
from unit.tiny import make_task

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.reranking.nbest import Candidates, read_nbest


def words(*indices):
    return torch.tensor([4 + index for index in indices] + [2])


@pytest.fixture
def file_task():
    task = make_task(source_words=3, target_words=2)
    rows = [{"source": words(0, 1), "target": words(1)}, {"source": words(2), "target": words(0, 0)}]
    task.dataset = lambda subset: rows
    return task


GOOD = "S-1\tw2\nT-1\tw0 w0\nH-1\t-2.0\tw0\nD-1\t-2.0\tw0\nP-1\t-1.0 -3.0\nH-1\t-3.0\t\nP-1\t-3.0\n" \
    "S-0\tw0 w1\nH-0\t-0.5\tw1 <unk>\nP-0\t-0.25 -0.25 -1.0\nGenerate test with beam=2: BLEU4 = 1.0\n"  # fmt: skip


def read(task, tmp_path, text):
    path = tmp_path / "generate.txt"
    path.write_text(text)
    return read_nbest(task, str(path), "test", None, str)


def test_reading_converts_base_2_and_restores_the_order(file_task, tmp_path):
    first, second = read(file_task, tmp_path, GOOD)
    ln2 = math.log(2)
    assert [h.text for h in first.hypotheses] == ["w1 <unk>"] and first.reference == "w1"
    assert [h.text for h in second.hypotheses] == ["w0", ""]
    assert [h.score for h in second.hypotheses] == pytest.approx([-2 * ln2, -3 * ln2])
    assert [h.log_prob for h in second.hypotheses] == pytest.approx([-4 * ln2, -3 * ln2])
    assert [h.tokens.tolist() for h in second.hypotheses] == [[4, 2], [2]]
    assert first.hypotheses[0].tokens.tolist() == [5, 3, 2] and second.source.tolist() == [6, 2]


def test_without_positional_scores_the_log_probability_is_unknown(file_task, tmp_path):
    text = "".join(line for line in GOOD.splitlines(True) if not line.startswith("P-"))
    assert read(file_task, tmp_path, text)[0].hypotheses[0].log_prob is None


def only(index):
    return "".join(line for line in GOOD.splitlines(True) if line[2:].startswith(f"{index}\t"))


@pytest.mark.parametrize(
    "text, message",
    [
        (only(1), "1 sources, test has 2 sentences.*number 0"),
        ("", "0 sources"),
        (GOOD + "H-2\t-1.0\tw0\n", "3 sources, test has 2"),
        (GOOD.replace("S-1\tw2", "S-1\tw1"), "S-1 is 'w1'.*'w2'.*--remove-bpe"),
        (GOOD.replace("-0.5\tw1 <unk>", "-0.5\tw1 whole"), "'whole'.*dictionary.*--remove-bpe"),
        (GOOD.replace("H-1\t-2.0", "H-1\tmuch"), "line 3: not as fairseq-generate prints"),
        ("P-0\t-1.0\n" + GOOD, "line 1"),
    ],
)
def test_files_that_do_not_fit(file_task, tmp_path, text, message):
    with pytest.raises(AMIError, match=message):
        read(file_task, tmp_path, text)


def test_a_missing_file(file_task, tmp_path):
    with pytest.raises(AMIError, match="cannot be read"):
        read_nbest(file_task, str(tmp_path / "none.txt"), "test", None, str)


def test_what_the_backward_network_predicts():
    """S; in dialogue the last utterance, as far as the network can write."""
    source = torch.arange(7)
    assert Candidates(source, None, ()).sought.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert Candidates(source, None, (), context=3).sought.tolist() == [3, 4, 5, 6]
    assert Candidates(source, None, (), context=3, written=2).sought.tolist() == [3, 4]
