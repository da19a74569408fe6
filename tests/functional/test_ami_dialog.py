"""Dialogue from end to end: prepared data, stock pretraining, minimax, resume, decoding, export, hub, mistakes."""

import filecmp
import json
import logging
import math
import os
import random
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import assert_identical, load
from functional.commands import PLUGIN, run, start
from functional.export_fixtures import column, lines
from functional.recorder import train_workers
from functional.rewarded import write_module
from functional.settings import LSTM, NETWORKS, TRANSFORMER_SIZES, ami_args, stock_args, train, with_validation
from functional.test_phases import CYCLE, PHASES, RATES, check_workers

from fairseq_ami import cli
from fairseq_ami.hub import from_pretrained

DIALOG = ["--task", "ami_dialog", "--sample-max-len-a", "0", "--sample-max-len-b", "6"]
FOLDERS = {"forward": "", "backward": "backward"}  # of each network's own data
PLUGGED = ["--user-dir", PLUGIN]


def write_dialogues(path: Path, count: int, seed: int) -> Path:
    """Each utterance answers the one before it: the same words, one further."""
    rng = random.Random(seed)
    with open(path, "w") as file:
        for _ in range(count):
            first = [rng.randrange(8) for _ in range(rng.randint(1, 4))]
            turns = [" ".join(f"w{(word + turn) % 8}" for word in first) for turn in range(rng.randint(2, 5))]
            file.write("".join(f"{turn} __eou__ " for turn in turns) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """What dialog-prepare makes of toy dialogues."""
    sizes = {"train": 30, "valid": 6, "test": 5}
    texts = [f"--{split}={write_dialogues(home / f'{split}.talk', n, n)}" for split, n in sizes.items()]
    argv = ["dialog-prepare", "--format", "dailydialog", *texts, "--destdir", str(home / "dialog")]
    assert cli.main(argv) == 0
    return home / "dialog"


@pytest.fixture(scope="module")
def stock(home: Path, folder: Path) -> Dict[str, Path]:
    """Networks pretrained by stock fairseq; the forward network's languages are found in the data."""
    for name, sub in FOLDERS.items():
        named = ["-s", "context", "-t", "last"] if sub else []
        network = ["--arch", "transformer", *TRANSFORMER_SIZES, *named]
        train(home / f"dialog-{name}", stock_args(folder / sub, home / f"dialog-{name}", 40, *network))
    return {name: home / f"dialog-{name}" / "checkpoint_last.pt" for name in FOLDERS}


@pytest.fixture(scope="module")
def pair(home: Path, folder: Path, stock: Dict[str, Path]) -> Path:
    """A pair whose networks are exactly the pretrained ones (learning rates of 0)."""
    still = [f"--{player}-lr=0" for player in ("forward", "backward", "noise")]
    names = [f"--{name}-checkpoint={path}" for name, path in stock.items()]
    args = ami_args(folder, home / "dialog-pair", 6, *DIALOG, *still, *names, "--weight-clip-mode", "none")
    train(home / "dialog-pair", with_validation(args, 3))
    return home / "dialog-pair" / "checkpoint_last.pt"


def decode(data: Path, path: Path, out: Path, *extra: Any, **kwargs: Any) -> str:
    """The output of fairseq-generate, or all that was said if it failed."""
    argv = [data, "--path", path, "--cpu", "--num-workers", 0, "--beam", 3, "--max-len-b", 8, "--nbest", 2]
    argv += ["--batch-size", 5, "--required-batch-size-multiple", 1, "--results-path", out / "results", *extra]
    result = run("generate", argv, out / "generate.log", **kwargs)
    return (out / "results" / "generate-test.txt").read_text() if result.code == 0 else result.text


def printed(text: str) -> List[List[float]]:
    """Log-likelihood of each symbol of each sentence, in nats; fairseq prints bits, four digits."""
    return [[float(bits) * math.log(2) for bits in line.split()] for line in column(text, "P")]


# ---------------------------------------------------------------------- data


@pytest.mark.parametrize("languages", ["hist-reply", "context-last"])
def test_stock_preprocessing_gives_the_same_files(languages: str, folder: Path, tmp_path: Path) -> None:
    """The separator goes through fairseq-preprocess as any word does."""
    source, target = languages.split("-")
    where = folder / ("" if source == "hist" else "backward")
    if source == "context":  # the other side's text, by the definition
        pairs = zip((folder / "test.hist").read_text().splitlines(), (folder / "test.reply").read_text().splitlines())
        texts = [((h.rpartition("<sep> ")[0] + "<sep> " if "<sep>" in h else "") + r, h.split("<sep> ")[-1])
                 for h, r in pairs]  # fmt: skip
        for side, name in enumerate((source, target)):
            (tmp_path / f"test.{name}").write_text("".join(text[side] + "\n" for text in texts))
    else:
        for name in (source, target):
            shutil.copy(folder / f"test.{name}", tmp_path)
    argv = ["-s", source, "-t", target, "--testpref", tmp_path / "test", "--joined-dictionary", "--workers", 1]
    run("preprocess", [*argv, "--srcdict", folder / "dict.hist.txt", "--destdir", tmp_path / "bin"], tmp_path / "log")
    names = [f"test.{languages}.{side}.{kind}" for side in (source, target) for kind in ("bin", "idx")]
    names += [f"dict.{source}.txt", f"dict.{target}.txt"]
    assert filecmp.cmpfiles(where, tmp_path / "bin", names, shallow=False) == (names, [], [])


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("network", ["transformer", "lstm"])
def test_minimax(network: str, folder: Path, tmp_path: Path) -> None:
    """All phases from scratch; in each only its player moves."""
    args = ami_args(folder, tmp_path, len(PHASES), *CYCLE, *RATES, *DIALOG, network=NETWORKS[network])
    (result,) = train_workers(tmp_path, with_validation(args, 4), 1)
    check_workers(tmp_path, 1, torch.float32)
    valid = result.logs("valid")[-1]
    assert all(math.isfinite(float(valid[f"valid_{name}"])) for name in ("loss", "vim_bound", "backward_nll_real"))


def test_killed_and_resumed(folder: Path, tmp_path: Path) -> None:
    for name in ("straight", "broken"):
        extra = ["--save-interval-updates", "1", "--pretrain-updates", "3", *RATES[2:], *DIALOG]
        (tmp_path / name).mkdir()
        args = with_validation(ami_args(folder, tmp_path / name, 12, *extra, network=LSTM), 5)
        if name == "broken":
            start("train", args, tmp_path / "killed.log").kill_when(tmp_path / name / "checkpoint_1_7.pt")
        text = train(tmp_path / name, args).text
    assert "Loaded checkpoint" in text
    one, two = (load(tmp_path / name / "checkpoint_last.pt") for name in ("straight", "broken"))
    for part in ("model", "last_optimizer_state"):
        assert_identical(one[part], two[part])
    assert_identical(one["extra_state"]["train_iterator"], two["extra_state"]["train_iterator"])


def test_histories_without_replies(folder: Path, tmp_path: Path) -> None:
    """A reward of one's own sees them, without a reply; the backward network learns to answer for them too."""
    write_module(tmp_path)
    histories = ["w1 w2 <sep> w3", "w4", "w5 <sep> w6 <sep> w7 w1", "w2 <sep> w3 w3"]
    (tmp_path / "text.hist").write_text("".join(history + "\n" for history in histories))
    options = ["-s", "hist", "-t", "reply", "--only-source", "--srcdict", folder / "dict.hist.txt", "--workers", 1]
    run("preprocess", [*options, "--trainpref", tmp_path / "text", "--destdir", tmp_path / "more"], tmp_path / "log")
    game = ["--reward", "log-q,mine:seen", "--phase-cycle", "forward=2,backward=1", "--anchor-weight", "0.1"]
    args = ami_args(folder, tmp_path, 3, *DIALOG, *game, "--unlabelled", tmp_path / "more" / "train")
    result = train(tmp_path, [*args, "--log-samples", "1"], cwd=tmp_path, hook=partial(_seen_in, tmp_path / "seen"))
    seen = [line.split("\t") for line in (tmp_path / "seen").read_text().splitlines()]
    alone = {source for source, reference in seen if reference == "-"}
    assert alone and alone <= set(histories) and any(reference != "-" for _, reference in seen)
    logs = result.logs("train_inner")
    assert float(logs[1]["unlabelled_reward_log-q_forward"]) < 0 < float(logs[2]["unlabelled_backward_nll_fake"])


def _seen_in(path: Path) -> None:
    os.environ["SEEN"] = str(path)


def test_pretrained_networks_were_taken_over(pair: Path, stock: Dict[str, Path]) -> None:
    state = load(pair)["model"]
    for name, path in stock.items():
        theirs = load(path)["model"]
        assert_identical({key: state[f"{name}_model.{key}"] for key in theirs}, theirs)


# ---------------------------------------------------------------------- decoding, export, hub


@pytest.mark.parametrize("direction", FOLDERS)
@pytest.mark.parametrize("task", ["ami_dialog", "translation"])
def test_decodes_as_the_stock_network(
    task: str, direction: str, folder: Path, pair: Path, stock: Dict[str, Path], tmp_path: Path
) -> None:
    data = folder / FOLDERS[direction]
    got = decode(data, pair, tmp_path, *PLUGGED, "--task", task)
    want = decode(data, stock[direction], tmp_path, *PLUGGED)
    assert len(lines(want, "H")) > 10
    assert [lines(got, kind) for kind in "SH"] == [lines(want, kind) for kind in "SH"]


def test_the_search_writes_no_separator(folder: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """A network that writes histories would."""
    state = load(stock["forward"])
    separator = next(i for i, line in enumerate(open(folder / "dict.hist.txt")) if line.startswith("<sep> ")) + 4
    weights = state["model"]
    weights["decoder.output_projection.weight"][separator] = 3 * weights["decoder.output_projection.weight"][2]
    weights["decoder.layers.0.final_layer_norm.bias"] += weights["decoder.output_projection.weight"][2]
    torch.save(state, tmp_path / "talkative.pt")
    plain = decode(folder, tmp_path / "talkative.pt", tmp_path, *PLUGGED)
    assert any("<sep>" in line for line in lines(plain, "H"))
    kept = decode(folder, tmp_path / "talkative.pt", tmp_path, *PLUGGED, "--task", "ami_dialog")
    assert not any("<sep>" in line for line in lines(kept, "H"))


def test_long_histories_when_decoding(folder: Path, pair: Path, tmp_path: Path) -> None:
    """fairseq-interactive and -generate cut them from the left; the plain task stops."""
    limit = ["--max-source-positions", 4, *PLUGGED]
    history = "w1 w2 <sep> w3 w4 <sep> w5 w6"
    for name, text in (("long", history), ("short", "w5 w6"), ("edge", "w4 <sep> w5 w6")):
        (tmp_path / name).write_text(text + "\n")
    common = [folder, "-s", "hist", "-t", "reply", "--path", pair, "--cpu", *limit, "--task", "ami_dialog"]
    said = {
        name: column(run("interactive", [*common, "--input", tmp_path / name], tmp_path / f"{name}.log").text, "H")
        for name in ("long", "short", "edge")
    }
    assert said["long"] == said["short"] == said["edge"] != []
    text = decode(folder, pair, tmp_path, *limit, "--task", "ami_dialog")
    assert len(lines(text, "H")) == 2 * len((folder / "test.hist").read_text().splitlines())
    assert "histories are longer than 4 symbols" in (tmp_path / "generate.log").read_text()


def test_limits_of_both_networks(tmp_path: Path) -> None:
    """Learned positions end where the limits are. A short target limit leaves the histories whole."""
    talk = "w1 w2 w3 w4 __eou__ w5 __eou__ w6 __eou__ w1 w7 w3 w4 w5 __eou__ w6 w1 __eou__\n"
    for split in ("train", "valid"):
        (tmp_path / f"{split}.talk").write_text(talk * 8)
    texts = [f"--{split}={tmp_path / split}.talk" for split in ("train", "valid")]
    folder = tmp_path / "data"
    assert cli.main(["dialog-prepare", "--format", "dailydialog", *texts, "--destdir", str(folder)]) == 0
    learned = ["--encoder-learned-pos", "--decoder-learned-pos", "--pretrain-updates", 1]
    limits = ["--max-source-positions", 30, "--max-target-positions", 3, "--truncate-source"]
    args = ami_args(folder, tmp_path, 7, *DIALOG, "--sample-max-len-b", 2, *learned, *limits)
    args.append("--skip-invalid-size-inputs-valid-test")
    result = train(tmp_path, with_validation(args, 7))
    assert "--truncate-source is ignored" in result.text and "histories are longer" not in result.text
    assert "16 of 32 last utterances are longer than 3 symbols" in result.text
    # of the four replies of a dialogue one has five words
    assert re.findall(r"(\d+) samples have invalid sizes .* max_positions=(\(.*?\))", result.text)[0] == (
        "8",
        "(30, 3)",
    )


def test_replaced_unknown_words(folder: Path, pair: Path, tmp_path: Path) -> None:
    """--replace-unk reads raw data: the history as it was read, with the names of unknown words."""
    for language in ("hist", "reply"):
        shutil.copy(folder / f"dict.{language}.txt", tmp_path)
        text = "w1 <sep> w2 w3 <sep> never-seen w4\n" if language == "hist" else "w5\n"
        (tmp_path / f"test.hist-reply.{language}").write_text(text)
    (tmp_path / "words.txt").write_text("never-seen never-heard\n")
    options = ["--dataset-impl", "raw", "--replace-unk", tmp_path / "words.txt", "--max-source-positions", 5]
    text = decode(tmp_path, pair, tmp_path, *PLUGGED, "--task", "ami_dialog", *options)
    assert column(text, "S") == ["w3 <sep> never-seen w4"] and len(lines(text, "H")) == 2


@pytest.mark.parametrize("direction", FOLDERS)
def test_exported_networks(direction: str, folder: Path, pair: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """A fairseq that does not know the plugin decodes them, from a file and from a folder."""
    for out in ("plain.pt", "plain"):
        assert cli.main(["export", str(pair), str(tmp_path / out), "--direction", direction]) == 0
    data = folder / FOLDERS[direction]
    want = lines(decode(data, stock[direction], tmp_path, *PLUGGED), "H")
    for name in ("plain.pt", "plain/model.pt"):
        assert lines(decode(data, tmp_path / name, tmp_path), "H") == want
    names = {"forward": ("hist", "reply"), "backward": ("context", "last")}[direction]
    assert {path.name for path in (tmp_path / "plain").glob("dict.*")} == {f"dict.{name}.txt" for name in names}


def test_hub(folder: Path, pair: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """A pair handed on replies, scores what the backward network reads, and samples without separators."""
    assert cli.main(["export", str(pair), str(tmp_path / "pair"), "--pair"]) == 0
    model = from_pretrained(str(tmp_path / "pair"))
    histories = (folder / "test.hist").read_text().splitlines()
    text = decode(folder, stock["forward"], tmp_path, *PLUGGED, "--nbest", 1)
    assert model.translate(histories, beam=3, max_len_b=8) == column(text, "H")
    text = decode(folder / "backward", stock["backward"], tmp_path, *PLUGGED, "--score-reference", "--nbest", 1)
    found = [score.log_prob for score in model.score(column(text, "S"), column(text, "T"), direction="backward")]
    assert found == pytest.approx([sum(scores) for scores in printed(text)], abs=1e-3)
    assert not any("<sep>" in sample for row in model.sample(histories, num_samples=5) for sample in row)


def test_bound(folder: Path, pair: Path, tmp_path: Path) -> None:
    """NLL of the last utterances under the backward network, as fairseq-validate's data would give it."""
    found = tmp_path / "found.json"
    assert cli.main(["bound", str(folder), "--path", f"pair={pair}", "--json", str(found)]) == 0
    text = decode(folder / "backward", pair, tmp_path, *PLUGGED, "--score-reference", "--nbest", 1)
    nll = [-score for scores in printed(text) for score in scores]
    assert json.loads(found.read_text())["pair"]["nll_real"] == pytest.approx(sum(nll) / len(nll), abs=1e-4)


# ---------------------------------------------------------------------- mistakes


def fails(result: Any, *messages: str) -> None:
    assert result.code != 0 and "Traceback" not in result.text, result.text[-3000:]
    assert all(message in result.text for message in messages), result.text[-2000:]


def test_wrong_starts(folder: Path, stock: Dict[str, Path], pair: Path, tmp_path: Path) -> None:
    def attempt(data: Path, *extra: Any, task: str = "ami_dialog") -> Any:
        return train(tmp_path, ami_args(data, tmp_path / "run", 2, *DIALOG, "--task", task, *extra), check=False)

    exchanged: List[Any] = ["--forward-checkpoint", stock["backward"], "--backward-checkpoint", stock["forward"]]
    fails(attempt(folder, *exchanged), "translates context -> last", "hist -> reply")
    fails(attempt(folder / "backward"), "the backward network's own data")
    shutil.copy(pair, tmp_path / "run" / "checkpoint_last.pt")
    fails(attempt(folder, task="ami_translation"), "trained for context -> last", "the same -s, -t and --task")
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    for name in ("hist", "reply"):
        path = bare / f"dict.{name}.txt"
        path.write_text(path.read_text().replace("<sep> ", "<eou> "))
    fails(attempt(bare), "has no <sep>", "dialog-prepare")
    (bare / "dict.reply.txt").write_text("w1 1\n")
    fails(attempt(bare), "one dictionary", "--joined-dictionary")


def test_reranking_as_translation_is_refused(
    folder: Path, pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would score whole histories given replies alone."""
    monkeypatch.setattr(logging.root, "handlers", [])  # the verb sets up its own messages
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    argv = ["rerank", folder, "--path", pair, "--output", tmp_path / "out", "--cpu", "--task", "ami_translation"]
    assert cli.main([str(word) for word in argv]) == 2
    assert "needed is one for reply -> hist" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_swapped_languages_name_the_backward_networks_data(folder: Path, pair: Path, tmp_path: Path) -> None:
    for task in ("ami_dialog", "translation"):
        options = ["-s", "reply", "-t", "hist", *PLUGGED, "--task", task]
        argv = [folder, "--path", pair, "--cpu", *options]
        fails(run("generate", argv, tmp_path / "log", check=False), "-s context -t last")
