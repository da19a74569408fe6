"""``fairseq-ami translate`` against stock fairseq's search and scorer on the same networks."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from unit.tiny import make_pair, make_task
from unit.tools.formats import networks
from unit.tools.formats.networks import PRE_NORM, save_checkpoint, save_pair, sentences

from fairseq_ami import cli
from fairseq_ami.tools.sharing.bundle import export
from fairseq_ami.tools.sharing.states import pair_state, stock_state

ROOT = Path(__file__).resolve().parents[3]
SIZES = {**PRE_NORM, **{key: value for key, value in networks.SIZES.items() if "positions" not in key}}
LONGEST = 18


def complete(path: Path) -> Path:
    """The checkpoint with all that fairseq's own loader asks for."""
    state = torch.load(path, weights_only=True)
    whole = pair_state(state, "") if "pair_languages" in state["cfg"]["model"] else stock_state(state, None, "")
    torch.save(whole, path)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A trained pair, its networks, its dictionaries, and the sentences of both sides."""
    folder = tmp_path_factory.mktemp("translate")
    checkpoint = complete(save_pair(folder, updates=100, words=(9, 8), **SIZES))
    task = make_task(9, 8)
    model = make_pair(task, **SIZES)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    model.eval()
    en, de = task.source_dictionary, task.target_dictionary
    found = SimpleNamespace(path=str(checkpoint), folder=folder, task=task)
    found.forward, found.backward = (model.forward_model, en, de), (model.backward_model, de, en)
    found.rows = {"forward": sentences(en, 12, 4), "backward": sentences(de, 12, 4)}
    for direction, dictionary in (("forward", en), ("backward", de)):
        text = "".join(dictionary.string(row) + "\n" for row in found.rows[direction])
        (folder / f"{direction}.txt").write_text(text)
    return found


def translate(capsys, *argv):
    """Lines that the verb prints; nothing is said about it."""
    assert cli.main(["translate", *map(str, argv)]) == 0
    captured = capsys.readouterr()
    return captured.out.splitlines()


def expected(pair, direction, nbest=1):
    """Text, score and log P of fairseq's beam 5."""
    module, read, written = getattr(pair, direction)
    lists = networks.stock_search(module, read, written, pair.rows[direction], longest=LONGEST, beam_size=5)
    return [
        [
            (written.string(h["tokens"]), float(h["score"]), float(h["positional_scores"].sum()))
            for h in hypotheses[:nbest]
        ]
        for hypotheses in lists
    ]


SEARCH = ("--max-len-b", LONGEST, "--cpu")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_text_of_both_directions(pair, capsys, direction):
    options = ("--direction", direction) if direction == "backward" else ()
    lines = translate(capsys, pair.path, pair.folder / f"{direction}.txt", *options, *SEARCH)
    assert lines == [hypotheses[0][0] for hypotheses in expected(pair, direction)]


def test_n_best_with_scores_and_as_json(pair, capsys):
    argv = (pair.path, pair.folder / "forward.txt", "--nbest", 3, *SEARCH)
    wanted = [(number, *row) for number, rows in enumerate(expected(pair, "forward", 3), 1) for row in rows]
    lines = translate(capsys, *argv)
    assert lines == [text for _, text, _, _ in wanted]
    for line, (number, text, score, log_p) in zip(translate(capsys, *argv, "--scores"), wanted):
        columns = line.split("\t")
        assert columns[0] == str(number) and columns[3] == text
        assert [float(value) for value in columns[1:3]] == pytest.approx([score, log_p], abs=1e-4)
    objects = [json.loads(line) for line in translate(capsys, *argv, "--json")]
    assert [one["line"] for one in objects] == list(range(1, 13))
    assert [one["source"] for one in objects] == (pair.folder / "forward.txt").read_text().splitlines()
    assert [hyp["text"] for one in objects for hyp in one["hypotheses"]] == lines
    assert set(objects[0]["hypotheses"][0]) == {"text", "score", "log_p"}


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_reranking_by_the_other_network(pair, capsys, direction):
    """The best of score + 0.7 log Q(S|T') / |S| - 0.2 |T'| / |S| among the beam, by the stock scorer."""
    other, read, _ = getattr(pair, "backward" if direction == "forward" else "forward")
    best = []
    for row, hypotheses in zip(pair.rows[direction], expected(pair, direction, 5)):
        pairs = [(read.encode_line(text, add_if_not_exist=False).long(), row) for text, _, _ in hypotheses]
        written = getattr(pair, direction)[1]
        log_q = networks.stock_scores(other, read, written, pairs)
        totals = [
            (score + 0.7 * q / len(row) - 0.2 * len(tokens) / len(row), text, q)
            for (text, score, _), q, (tokens, _) in zip(hypotheses, log_q, pairs)
        ]
        best.append(max(totals))
    options = ("--direction", direction, "--lambda", 0.7, "--length-weight", -0.2, "--scores")
    lines = translate(capsys, pair.path, pair.folder / f"{direction}.txt", *options, *SEARCH)
    for line, (total, text, log_q) in zip(lines, best):
        _, score, _, q, found = line.split("\t")
        assert found == text
        assert [float(score), float(q)] == pytest.approx([total, log_q], abs=2e-4)
    assert [row[1] for row in best] != [rows[0][0] for rows in expected(pair, direction)], "lambda changes nothing"


def test_stdin_empty_lines_and_output(pair, capsys, monkeypatch, tmp_path):
    first = (pair.folder / "forward.txt").read_text().splitlines()[0]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"\n{first}\n\n".encode())))
    wanted = ["", expected(pair, "forward")[0][0][0], ""]
    assert translate(capsys, pair.path, *SEARCH) == wanted
    (tmp_path / "in").write_text(f"\n{first}\n\n")
    assert translate(capsys, pair.path, tmp_path / "in", "--output", tmp_path / "out", *SEARCH) == []
    assert (tmp_path / "out").read_text().splitlines() == wanted
    lines = translate(capsys, pair.path, tmp_path / "in", "--nbest", 2, "--scores", *SEARCH)
    assert [line.split("\t")[0] for line in lines] == ["1", "1", "2", "2", "3", "3"]
    assert {line.count("\t") for line in lines} == {3}


def test_samples(pair, capsys):
    """They do not depend on how many lines are read at once; their log P is the network's own."""
    argv = (pair.path, pair.folder / "forward.txt", "--sampling", "--nbest", 2, "--scores", *SEARCH)
    lines = translate(capsys, *argv)
    assert lines == translate(capsys, *argv, "--buffer-size", 5)
    assert lines != translate(capsys, *argv, "--seed", 2)
    assert lines != translate(capsys, *argv, "--noise")
    module, read, written = pair.forward
    pairs, found = [], []
    for line in lines:
        number, _, log_p, text = line.split("\t")
        tokens = written.encode_line(text, add_if_not_exist=False).long()
        pairs.append((pair.rows["forward"][int(number) - 1], tokens))
        found.append(float(log_p))
    assert found == pytest.approx(networks.stock_scores(module, read, written, pairs), abs=1e-4)
    greedy = translate(capsys, *argv[:3], "--sampling-topk", 1, *SEARCH)
    assert greedy == translate(capsys, *argv[:2], "--beam", 1, *SEARCH)


def test_ctranslate2_says_the_same(pair, capsys):
    pytest.importorskip("ctranslate2")
    folder = pair.folder / "converted"
    export(pair.path, str(folder), pair=True, format="ctranslate2")
    for options in ((), ("--direction", "backward"), ("--scores",)):
        text = pair.folder / ("backward.txt" if "backward" in options else "forward.txt")
        by_fairseq = translate(capsys, pair.path, text, *options, *SEARCH)
        by_other = translate(capsys, folder, text, *options, *SEARCH, "--engine", "ctranslate2")
        for ours, theirs in zip(by_fairseq, by_other):
            assert ours.split("\t")[-1] == theirs.split("\t")[-1]
            numbers = [[float(value) for value in line.split("\t")[:-1]] for line in (ours, theirs)]
            assert numbers[0] == pytest.approx(numbers[1], abs=2e-4)
    options = ("--lambda", 0.5, "--scores", *SEARCH)
    text = pair.folder / "forward.txt"
    lines = translate(capsys, folder, text, *options)
    # one engine scores what the other one wrote
    assert lines == translate(capsys, folder / "forward", text, "--backward", folder, *options)
    mixed = translate(capsys, folder / "forward", text, "--backward", pair.path, *options)
    assert [line.split("\t")[-1] for line in mixed] == [line.split("\t")[-1] for line in lines]


def test_single_networks(tmp_path, capsys):
    """A stock checkpoint translates, draws samples and is reranked by a network that --backward names."""
    forward = complete(save_checkpoint(tmp_path / "stock", updates=60, **networks.SHARED))
    module, source, target = networks.load(forward)
    rows = sentences(source, 5, 4)
    (tmp_path / "in").write_text("".join(source.string(row) + "\n" for row in rows))
    wanted = networks.stock_search(module, source, target, rows, longest=LONGEST, beam_size=5)
    argv = (forward, tmp_path / "in", *SEARCH)
    assert translate(capsys, *argv) == [target.string(found[0]["tokens"]) for found in wanted]
    drawn = translate(capsys, *argv, "--sampling", "--nbest", 3)
    assert len(drawn) == 15 and drawn == translate(capsys, *argv, "--sampling", "--nbest", 3)
    assert len(translate(capsys, *argv, "--lambda", 1, "--backward", forward)) == 5  # one table: its own inverse


def test_nothing_but_translations_is_printed(pair):
    """fairseq tells about every file that it opens."""
    argv = ["translate", pair.path, str(pair.folder / "forward.txt"), *map(str, SEARCH)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "fairseq_ami.cli", *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=pair.folder)
    assert done.stdout.splitlines() == [hypotheses[0][0] for hypotheses in expected(pair, "forward")]
    assert done.stderr == ""


def fails(capsys, message, *argv):
    assert cli.main(["translate", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error


def test_mistakes_are_explained(pair, capsys, tmp_path):
    text = pair.folder / "forward.txt"
    (tmp_path / "long").write_text("w0\n" + "w0 " * 30)
    (tmp_path / "latin").write_bytes("w0\nw\xe4".encode("latin-1"))
    (tmp_path / "half.pt").write_bytes(Path(pair.path).read_bytes()[:3000])
    fails(capsys, "no model", tmp_path / "none", text)
    fails(capsys, "no file", pair.path, tmp_path / "none")
    fails(capsys, "truncated", tmp_path / "half.pt", text)
    fails(capsys, "line 2 has 31 symbols", pair.path, tmp_path / "long", "--cpu")
    fails(capsys, "not UTF-8", pair.path, tmp_path / "latin", "--cpu")
    fails(capsys, "--nbest 6 is more than --beam 5", pair.path, text, "--nbest", 6)
    fails(capsys, "belongs to --sampling", pair.path, text, "--temperature", 0.5)
    fails(capsys, "belongs to --lambda", pair.path, text, "--length-weight", 0.5)
    fails(capsys, "no noise network", pair.path, text, "--direction", "backward", "--sampling", "--noise", "--cpu")
    fails(capsys, "--engine fairseq, not by --engine ctranslate2", pair.path, text, "--engine", "ctranslate2")
    fails(capsys, "dict.en.txt", pair.path, text, "--data", tmp_path)
    single = complete(save_checkpoint(tmp_path / "single"))
    fails(capsys, "--direction is for pairs", single, text, "--direction", "forward", "--cpu")
    fails(capsys, "name one with --backward", single, text, "--lambda", 1, "--cpu")
    fails(capsys, "cannot write", pair.path, text, "--output", tmp_path)
