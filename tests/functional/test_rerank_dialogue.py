"""``fairseq-ami rerank`` and ``reward-ceiling`` for dialogue: Q(last utterance | earlier history, reply)."""

import json
import math
import re

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from functional.commands import PLUGIN, run
from functional.export_fixtures import column
from functional.test_ami_dialog import decode, folder, pair, stock  # noqa: F401  (fixtures)

from fairseq_ami import cli
from fairseq_ami.cli import rerank as verb
from fairseq_ami.tools.ceiling.drawing import Drawer, Drawing
from fairseq_ami.tools.ceiling.networks import SearchSettings, load_players
from fairseq_ami.tools.reranking.decoder import MMIDecoder
from fairseq_ami.tools.reranking.nbest import Candidates, Hypothesis
from fairseq_ami.tools.reranking.scores import _read

BEAM = 4
SEARCH = ["--beam", BEAM, "--nbest", BEAM, "--max-len-b", 8, "--cpu", "--max-tokens", 60]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of its own for the fixtures."""
    return tmp_path_factory.mktemp("rerank-dialogue")


def rerank(data, output, *options):
    return cli.main([str(word) for word in ["rerank", data, *SEARCH, "--output", output, *options]])


@pytest.fixture(scope="module")
def scored(folder, pair):  # noqa: F811
    """The test set with everything that the command computes."""
    argv = ["rerank", folder, "--path", pair, *SEARCH, "--output", "-"]
    args = cli.build_parser("rerank").parse_args([str(word) for word in argv])
    return MMIDecoder(verb.configuration(args), None, "per-token", "13a").score("test")


def test_backward_scores_are_those_of_the_stock_scorer(folder, stock, scored, tmp_path):  # noqa: F811
    """The candidate after the earlier history, both written out by hand as text, scored by plain fairseq."""
    histories = (folder / "test.hist").read_text().splitlines()
    assert {line.count("<sep>") for line in histories} == {0, 1, 2}
    with open(tmp_path / "test.context", "w") as contexts, open(tmp_path / "test.last", "w") as lasts:
        for history, entry in zip(histories, scored.lists):
            *earlier, last = history.split(" <sep> ")
            for hypothesis in entry.hypotheses:
                contexts.write(" <sep> ".join([*earlier, hypothesis.text]) + "\n")
                lasts.write(last + "\n")
    words = ["--srcdict", folder / "dict.hist.txt", "--joined-dictionary", "--destdir", tmp_path / "bin"]
    argv = ["-s", "context", "-t", "last", "--testpref", tmp_path / "test", *words, "--workers", 1]
    run("preprocess", argv, tmp_path / "preprocess.log")
    text = decode(tmp_path / "bin", stock["backward"], tmp_path, "--user-dir", PLUGIN, "--score-reference",
                  "--nbest", 1, "-s", "context", "-t", "last")  # fmt: skip
    expected = [sum(float(bits) for bits in line.split()) * math.log(2) for line in column(text, "P")]
    assert len(expected) == len(histories) * BEAM
    np.testing.assert_allclose(np.concatenate(scored.log_q), expected, atol=2e-3)  # printed with four digits
    lengths = [len(history.split(" <sep> ")[-1].split()) + 1 for history in histories]
    per_token = np.array(expected).reshape(-1, BEAM) / np.array(lengths)[:, None]
    np.testing.assert_allclose(scored.features.backward, per_token, atol=2e-3)
    assert {entry.written for entry in scored.lists} == {1024}  # fairseq's own limit


def test_the_oldest_words_are_cut_off():
    """By hand: 9 is the separator, 2 the end symbol."""
    hypothesis = Hypothesis(torch.tensor([7, 8, 2]), -1.0, None, "")
    entry = Candidates(torch.tensor([4, 9, 5, 9, 6, 2]), None, (hypothesis,), context=4)
    cut = {7: [4, 9, 5, 9, 7, 8, 2], 5: [5, 9, 7, 8, 2], 3: [7, 8, 2], 2: [7, 8, 2]}
    assert {limit: _read(entry, hypothesis.tokens, limit).tolist() for limit in cut} == cut
    assert entry.sought.tolist() == [6, 2]


def test_tuning_and_who_brings_the_networks(folder, pair, stock, tmp_path):  # noqa: F811
    ways = {
        "pair": ["--path", pair],
        "singles": ["--path", stock["forward"], "--backward-path", stock["backward"]],
        "single and pair": ["--path", stock["forward"], "--backward-path", pair, "-s", "hist", "-t", "reply"],
    }
    texts, reports = set(), []
    for name, options in ways.items():
        report = tmp_path / f"{name}.json"
        assert rerank(folder, tmp_path / name, *options, "--lambda-grid", "0.5,2", "--json", report) == 0
        texts.add((tmp_path / name).read_text())
        reports.append(json.loads(report.read_text()))
    assert len(texts) == 1 and len(texts.pop().splitlines()) == len((folder / "test.hist").read_text().splitlines())
    assert [row["lambda"] for row in reports[0]["grid"]] == [0, 0.5, 2]
    assert reports[0]["results"] == reports[1]["results"] == reports[2]["results"]


def test_no_candidate_has_a_separator(folder, stock, tmp_path):  # noqa: F811
    """Neither searched nor sampled, even from a network that writes histories; lists with one are refused."""
    state = torch.load(stock["forward"], weights_only=False)
    words = (folder / "dict.hist.txt").read_text().splitlines()
    separator = next(index for index, line in enumerate(words) if line.startswith("<sep> ")) + 4
    weights = state["model"]
    weights["decoder.output_projection.weight"][separator] = 3 * weights["decoder.output_projection.weight"][2]
    weights["decoder.layers.0.final_layer_norm.bias"] += weights["decoder.output_projection.weight"][2]
    torch.save(state, tmp_path / "talkative.pt")
    paths = ["--path", tmp_path / "talkative.pt", "--backward-path", stock["backward"], "--lambda", 0.5]
    for options in ([], ["--sampling", "--sampling-topk", 8]):
        assert rerank(folder, tmp_path / "out", *paths, *options) == 0
        assert "<sep>" not in (tmp_path / "out").read_text()
    lists = tmp_path / "lists.txt"
    lists.write_text(decode(folder, tmp_path / "talkative.pt", tmp_path, "--user-dir", PLUGIN))
    assert "<sep>" in "".join(column(lists.read_text(), "H"))


def test_mistakes(folder, pair, stock, tmp_path, capsys):  # noqa: F811
    def refused(message, *options):
        assert rerank(folder, tmp_path / "out", *options, "--lambda", 1) == 2
        error = capsys.readouterr().err
        assert re.search(message, error) and "Traceback" not in error, error

    refused("backward network's own data", "--path", pair, "-s", "context", "-t", "last")
    refused("needed is one for reply -> hist", "--path", pair, "--task", "ami_translation")
    refused("translates context -> last; needed is .* for hist -> reply", "--path", stock["backward"])
    text = decode(folder, pair, tmp_path, "--user-dir", PLUGIN, "--task", "ami_dialog")
    lists = tmp_path / "lists.txt"
    lists.write_text(re.sub(r"^(H-1\t\S+\t)\S*", r"\1w1 <sep> ", text, count=1, flags=re.MULTILINE))
    refused("H-1.* has <sep>.*--task ami_dialog", "--path", pair, "--nbest-file", lists)


# ------------------------------------------------------------------ reward-ceiling


def test_ceiling_scores_the_last_utterance_after_the_earlier_history(folder, stock):  # noqa: F811
    """By one pass of the plain backward network over what it reads, put together by hand."""
    players = load_players(
        str(stock["forward"]), str(stock["backward"]), str(folder), ("hist", "reply"), SearchSettings(2, cpu=True)
    )
    drawing = Drawing(3, (1.0,), per="sentence", post_process=None)
    told = Drawer(players, ["log-q", "chrf"], drawing)("test", 500, False, lambda items, title: items)
    (network,), _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(stock["backward"])], arg_overrides={"data": str(folder / "backward")}
    )
    words = task.source_dictionary
    histories = (folder / "test.hist").read_text().splitlines()
    assert told.references == (folder / "test.reply").read_text().splitlines()
    drawn = told.drawn[1.0]
    for row, history in enumerate(histories):
        *earlier, last = history.split(" <sep> ")
        target = words.encode_line(last, add_if_not_exist=False).long()
        for number, text in enumerate(drawn.texts[row]):
            assert "<sep>" not in text
            read = words.encode_line(" <sep> ".join([*earlier, text]), add_if_not_exist=False).long()
            previous = torch.cat([target[-1:], target[:-1]])[None]
            with torch.no_grad():
                logits = network.eval()(read[None], torch.tensor([len(read)]), previous)[0][0]
            expected = float(logits.double().log_softmax(-1).gather(1, target[:, None]).sum())
            assert float(drawn.rewards["log-q"][row, number]) == pytest.approx(expected, abs=1e-3)


def test_ceiling_of_a_pair_is_that_of_its_networks(folder, pair, stock, tmp_path):  # noqa: F811
    ways = {"pair": [pair], "plain": [stock["forward"], "--backward", stock["backward"], "-s", "hist", "-t", "reply"]}
    tables = []
    for name, argv in ways.items():
        options = ["--data", folder, "--subset", "test", "--samples", 3, "--cpu", "--output", tmp_path / f"{name}.json"]
        assert cli.main([str(word) for word in ["reward-ceiling", *argv, *options]]) == 0
        rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        tables.append([{**row, "checkpoint": ""} for row in rows])
    assert tables[0] == tables[1] and {row["picked_by"] for row in tables[0]} > {"chance", "k-log-q", "chrf"}
