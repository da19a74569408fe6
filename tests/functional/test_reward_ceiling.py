"""``fairseq-ami reward-ceiling`` against stock fairseq, plain code and sacreBLEU."""

import csv
import json
import re

import pytest
import sacrebleu
import torch
from fairseq import checkpoint_utils
from functional.commands import PLUGIN, run
from functional.corpus import pairs

from fairseq_ami import cli
from fairseq_ami.plugin import register
from fairseq_ami.tools.ceiling.drawing import Drawer, Drawing
from fairseq_ami.tools.ceiling.networks import SearchSettings, load_players

SMALL = ["--cpu", "--samples", 4, "--max-tokens", 200, "--beam", 3]
NAMES = ["log-q", "k-log-q", "k", "log-p", "length", "bleu"]


def ceiling(*options):
    return cli.main([str(word) for word in ["reward-ceiling", *SMALL, *options]])


def rows_of(path):
    return json.loads(path.read_text())["rows"]


@pytest.fixture(scope="module")
def told(data, stock):
    """All sources of the test set with their samples, drawn by plain networks."""
    register()
    players = load_players(
        str(stock["forward"]), str(stock["backward"]), str(data), (None, None), SearchSettings(3, cpu=True)
    )
    how = Drawing(4, (0.7,), per="sentence", max_tokens=100, post_process=None)
    return Drawer(players, NAMES, how)("test", 500, False, lambda items, title: items)


@pytest.fixture(scope="module")
def networks(stock):
    """The two plain networks and their dictionaries, by fairseq alone."""
    return {name: checkpoint_utils.load_model_ensemble_and_task([str(path)]) for name, path in stock.items()}


def log_probability(network, source, target):
    """log p(target | source) by one pass of a plain network; ids with their end symbols."""
    previous = torch.cat([target[-1:], target[:-1]])[None]
    with torch.no_grad():
        logits = network.eval()(source[None], torch.tensor([len(source)]), previous)[0][0]
    return float(logits.double().log_softmax(-1).gather(1, target[:, None]).sum())


def test_beam_search_is_fairseq_generates(data, stock, told, home):
    argv = [data, "--user-dir", PLUGIN, "--path", stock["forward"], "--gen-subset", "test", "--beam", 3, "--cpu"]
    text = run(
        "generate", [*argv, "--required-batch-size-multiple", 1, "--num-workers", 0], home / "generate-ceiling.log"
    ).text
    found = {int(index): words for index, words in re.findall(r"^H-(\d+)\t\S+\t(.*)$", text, re.MULTILINE)}
    assert told.beam == [found[index] for index in range(12)]


def test_sources_and_references_are_those_of_the_data(told):
    assert told.references == [target for _, target in pairs(12, 102)] and (told.size, told.too_long) == (12, 0)


def test_log_probabilities_are_those_of_the_plain_networks(told, networks):
    """Samples that were cut at their limit aside, whose end symbol was not chosen."""
    (forward,), _, task = networks["forward"]
    (backward,) = networks["backward"][0]
    drawn, checked = told.drawn[0.7], 0
    for row, (source, _) in enumerate(pairs(12, 102)):
        source_ids = task.source_dictionary.encode_line(source, add_if_not_exist=False).long()
        for column, text in enumerate(drawn.texts[row]):
            target = task.target_dictionary.encode_line(text, add_if_not_exist=False).long()
            assert int(drawn.lengths[row, column]) == len(target) == int(drawn.rewards["length"][row, column])
            log_q = log_probability(backward, target, source_ids)
            assert float(drawn.rewards["log-q"][row, column]) == pytest.approx(log_q, abs=1e-4)
            embedding = forward.decoder.embed_tokens.weight.detach()
            reference = task.target_dictionary.encode_line(told.references[row], add_if_not_exist=False).long()
            means = [embedding[ids[:-1]].mean(0) for ids in (target, reference)]
            k = 1 - float(torch.cosine_similarity(*means, dim=0))
            if len(target) > 1:
                assert float(drawn.rewards["k"][row, column]) == pytest.approx(k, abs=1e-5)
                assert float(drawn.rewards["k-log-q"][row, column]) == pytest.approx(k * log_q, abs=2e-4)
            if len(target) < 1.5 * len(source_ids) + 9:
                log_p = log_probability(forward, source_ids, target)
                # pad and <s> are never drawn: what the network gives them goes to the others
                assert float(drawn.rewards["log-p"][row, column]) == pytest.approx(log_p, abs=0.05)
                checked += 1
    assert checked > 30


def test_the_table_of_plain_networks(data, stock, told, tmp_path, capsys):
    """Each row's picks scored again by sacreBLEU."""
    output = tmp_path / "table.json"
    argv = ["--backward", stock["backward"], "--data", data, "--subset", "test", "--temperature", 0.7]
    argv += ["--reward-per", "sentence", "--reward-post-process", "", "--output", output]
    assert ceiling(stock["forward"], *argv, "--reward", "log-p", "log-q=1,log-p=2", "bleu", "constant") == 0
    rows = {(row["picked_by"], row["reward_length"]): row for row in rows_of(output)}
    assert len(rows) == 2 + 2 * 4
    drawn = told.drawn[0.7]
    values = {"log-p": drawn.rewards["log-p"], "log-q=1,log-p=2": drawn.rewards["log-q"] + 2 * drawn.rewards["log-p"]}
    for name, reward in values.items():
        picks = [texts[int(best)] for texts, best in zip(drawn.texts, reward.argmax(1))]
        score = sacrebleu.corpus_bleu(picks, [told.references], tokenize="none", force=True)
        assert rows[name, "as-is"]["bleu"] == pytest.approx(score.score)
        assert rows[name, "as-is"]["length_ratio"] == pytest.approx(score.sys_len / score.ref_len)
    score = sacrebleu.corpus_bleu(told.beam, [told.references], tokenize="none", force=True)
    assert rows["beam search", None]["bleu"] == pytest.approx(score.score)
    assert rows["bleu", "as-is"]["rho_bleu"] == pytest.approx(1, abs=1e-6)
    chance = rows["chance", None]
    assert rows["constant", "as-is"]["bleu"] == chance["bleu"] == rows["constant", "neutral"]["bleu"]
    assert rows["constant", "as-is"]["left_out_bleu"] == 12 and rows["constant", "as-is"]["rho_bleu"] is None
    printed = capsys.readouterr().out
    assert "test: 12 of 12 sources" in printed and "sacreBLEU nrefs:1|case:mixed|eff:no|tok:none" in printed
    assert re.search(r"^0.7 +bleu +as-is +1.00 ", printed, re.MULTILINE)


def test_a_pair_brings_both_networks(data, stock, trained, tmp_path):
    """The pair's networks are the plain ones, so its table is theirs, whoever scores; two splits, chosen sources."""
    common = ["--data", data, "--subset", "valid,train", "--sources", 5, "--random-sources"]
    ways = {
        "pair": [trained],
        "plain": [stock["forward"], "--backward", stock["backward"]],
        "mixed": [stock["forward"], "--backward", trained, "-s", "en", "-t", "de"],
    }
    tables = {}
    for name, argv in ways.items():
        assert ceiling(*argv, *common, "--output", tmp_path / f"{name}.tsv") == 0
        with open(tmp_path / f"{name}.tsv", newline="") as file:
            tables[name] = [{**row, "checkpoint": ""} for row in csv.DictReader(file, delimiter="\t")]
    assert tables["pair"] == tables["plain"] == tables["mixed"]
    assert len(tables["pair"]) == 2 * (1 + 2 * (1 + 2 * 6))
    assert {(row["subset"], row["sources"]) for row in tables["pair"]} == {("valid", "5"), ("train", "5")}


def test_the_other_direction_of_a_pair(data, stock, trained, tmp_path):
    """de -> en: the backward network draws."""
    argv = ["--data", data, "--reward", "log-q", "--temperature", 1, "-s", "de", "-t", "en"]
    assert ceiling(trained, *argv, "--output", tmp_path / "a.json") == 0
    backward = [stock["backward"], "--backward", stock["forward"]]
    assert ceiling(*backward, *argv, "--output", tmp_path / "b.json") == 0
    first, second = ([{**row, "checkpoint": ""} for row in rows_of(tmp_path / f"{name}.json")] for name in "ab")
    assert first == second


def test_a_function_of_ones_own(data, stock, tmp_path, monkeypatch):
    """It rewards short text: its neutral reward has nothing left, and its picks are short."""
    (tmp_path / "own_ceiling.py").write_text(
        "def short(sampled):\n    return [-len(ids) for ids in sampled.output_ids]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    argv = ["--data", data, "--reward", "own_ceiling:short", "--output", "own.json"]
    assert ceiling(stock["forward"], *argv) == 0
    rows = rows_of(tmp_path / "own.json")
    chance, as_is, neutral = (row for row in rows if row["temperature"] == 1.0)
    assert as_is["length_ratio"] < chance["length_ratio"] == neutral["length_ratio"]
    assert neutral["left_out_bleu"] == neutral["sources"] == 12


@pytest.mark.parametrize(
    "options, message",
    [
        (["--reward", "log-q"], "--reward log-q needs a backward network, and .* has none: name one with --backward"),
        (["--reward", "chrf=1,k-log-q=1"], "--reward k-log-q needs a backward network"),
        (["--reward", "blue"], "no reward 'blue'; choose from"),
        (["--reward", "no_module:f"], "--reward no_module:f: cannot import no_module"),
        (["--backward", "FORWARD"], "--backward .* translates en -> de; needed is a network for de -> en"),
        (["--backward", "nowhere.pt"], "--backward: there is no file nowhere.pt"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--subset", "valid,dev"], "there is no subset dev"),
        (["--output", "table.txt"], "--output table.txt must end with .tsv or .json"),
        (["--output", "nowhere/table.tsv"], "cannot write nowhere/table.tsv"),
        (["--bleu-tokenize", "14a"], "--bleu-tokenize 14a: choose from"),
        (["--picks", "best"], "--picks writes one sample .* of --reward, --temperature, --reward-length"),
        (["--picks", "nowhere/best"], "cannot write nowhere/best"),
        (["--topp", "1.5"], "--topp must lie in"),
    ],
)
def test_bad_input(options, message, data, stock, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [str(stock["forward"]) if word == "FORWARD" else word for word in options]
    argv = words if "--data" in words else ["--data", data, *words]
    assert ceiling(stock["forward"], *argv) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(f"fairseq-ami: error: .*{message}.*\n", printed.err), printed.err
    assert list(tmp_path.iterdir()) == []


def test_picks_are_text_to_train_on(data, stock, tmp_path, told, monkeypatch):
    """Each source beside the sample of the highest log P, which the plain network scores as highest, too."""
    monkeypatch.chdir(tmp_path)
    argv = ["--backward", stock["backward"], "--data", data, "--subset", "test", "--temperature", 0.7]
    argv += ["--reward-per", "sentence", "--reward-post-process", "", "--reward-length", "as-is", "--picks", "best"]
    assert ceiling(stock["forward"], *argv, "--reward", "log-p") == 0
    assert (tmp_path / "best.en").read_text().splitlines() == [source for source, _ in pairs(12, 102)]
    drawn = told.drawn[0.7]
    best = [texts[int(place)] for texts, place in zip(drawn.texts, drawn.rewards["log-p"].argmax(1))]
    assert (tmp_path / "best.de").read_text().splitlines() == best


def test_a_split_without_references(data, stock, tmp_path, capsys):
    run("preprocess", ["--only-source", "-s", "en", "-t", "de", "--testpref", data.parent / "text" / "test",
                       "--srcdict", data / "dict.en.txt", "--destdir", tmp_path, "--workers", 1],
        tmp_path / "preprocess.log")  # fmt: skip
    (tmp_path / "dict.de.txt").write_bytes((data / "dict.de.txt").read_bytes())
    assert ceiling(stock["forward"], "--data", tmp_path, "--subset", "test") == 2
    assert "the subset test has no references" in capsys.readouterr().err
