"""The recipes of dialogue, every script end to end on a few dialogues with tiny networks."""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
ROWS = "mle mmi ami-no-noise ami mmi-fixed ami-no-k ami-no-clip ami-no-noise-centred ami-hinge".split()
OTHERS = "hred vhred dir-vhred dir-vhred-released vhcr cgan".split()
SHORT = {
    "SIZE": "tiny", "EPOCHS": "12", "CYCLES": "2", "NOISE": "1", "FORWARD": "2", "BACKWARD": "2", "NOISE_UPDATES": "2",
    "VALID_EVERY": "4", "MAX_LEN": "8", "MAX_TOKENS": "300", "BEAM": "2", "SEARCH": "--beam 3", "BOOTSTRAP": "20",
    "TRIALS": "50", "MBR": "--sampling --beam 4",
    "PRETRAIN": "--warmup-updates 5 --lr 0.02", "EXAMPLES": "3", "ITEMS": "4", "DEVICE": "--cpu",
    "REFIT_UPDATES": "2", "OMP_NUM_THREADS": "1", "KL_UPDATES": "20",
    "DISCRIMINATOR_UPDATES": "2", "DISCRIMINATOR": "1",
}  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The commands of this checkout, and the settings of a very short run."""
    folder = tmp_path_factory.mktemp("dialogue")
    command = folder / "fairseq-ami"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairseq_ami.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **SHORT, "PATH": path, "PYTHONPATH": str(ROOT)}


def talks(count, seed):
    """Each utterance answers the one before it: the same words, one further."""
    rng = random.Random(seed)
    for _ in range(count):
        first = [rng.randrange(30) for _ in range(rng.randint(2, 5))]
        yield [" ".join(f"word{(word + turn) % 30}" for word in first) + " ." for turn in range(rng.choice((2, 4)))]


def dailydialog(folder):
    folder.mkdir()
    for split, count in {"train": 60, "validation": 8, "test": 8}.items():
        text = "".join(" __eou__ ".join(talk) + " __eou__\n" for talk in talks(count, count))
        (folder / f"dialogues_{split}.txt.gz").write_bytes(gzip.compress(text.encode()))


def personachat(folder):
    """The training set in two files, as ParlAI writes them."""
    folder.mkdir()
    for name, count in {"train_a": 30, "train_b": 31, "valid": 8, "test": 9}.items():
        lines = []
        for talk in talks(count, count):
            lines.append(f"1 your persona: i like {talk[0]}")
            lines += [f"{2 + at // 2} {talk[at]}\t{talk[at + 1]}" for at in range(0, len(talk), 2)]
        (folder / f"{name}_self_original_no_cands.txt").write_text("\n".join(lines) + "\n")


def run(recipe, script, environment, *argv, code=0, **settings):
    command = ["bash", EXAMPLES / recipe / script, *argv]
    result = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True)
    assert result.returncode == code, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout if code == 0 else result.stderr


def test_dailydialog_all_rows(environment, tmp_path):
    """All rows are trained, decoded, measured, drawn and shown; a second call goes on."""
    dailydialog(tmp_path / "raw")
    work = tmp_path / "work"
    settings = {**environment, "DATA": str(tmp_path / "raw"), "WORK": str(work)}
    run("dailydialog", "1_prepare.sh", settings)
    assert "run 2_pretrain.sh first" in run("dailydialog", "3_train.sh", settings, "mle", code=2)
    run("dailydialog", "2_pretrain.sh", settings)
    strong = {"ami-hinge": {"BACKWARD": "1"}}  # its critic takes as many updates as the policy all the same
    logs = {row: run("dailydialog", "3_train.sh", settings, row, **strong.get(row, {})) for row in ROWS}
    updates = {"mmi-fixed": 4, **{row: 12 for row in ("ami", "ami-no-k", "ami-no-clip", "ami-hinge")}}
    for row, log in logs.items():  # as many forward updates in all rows
        assert f"num_updates: {updates.get(row, 8)} >= max_update" in log, row
        assert "reply_average" in log and "reply_ent_4" in log
    assert "Loaded checkpoint" in run("dailydialog", "3_train.sh", settings, "ami", CYCLES="3")
    assert "run 3_train.sh hred first" in run("dailydialog", "3_train.sh", settings, "vhcr", code=2)
    others = {row: run("dailydialog", "3_train.sh", settings, row) for row in OTHERS}
    assert "num_updates: 14 >= max_update" in others["cgan"] and "human_accuracy" in others["cgan"]
    assert all("the model starts as the HRED" in others[row] for row in OTHERS[1:5])
    run("dailydialog", "4_rerank.sh", settings)
    run("dailydialog", "5_score.sh", settings)
    table = json.loads((work / "table1.json").read_text())
    systems = {f"transformer-{row}" for row in [*ROWS, "mle-reranked", "mle-mbr", "cgan"]} | set(OTHERS[:-1])
    assert set(table["systems"]) == systems and table["replies"] == len((work / "bin/test.reply").open().readlines())
    assert {"average", "greedy", "extrema", "dist_1", "dist_2", "ent_4"} <= set(
        table["systems"]["transformer-ami"]["figures"]
    )
    kept = (work / "table1.json").read_bytes()
    run("dailydialog", "5_score.sh", settings, LENPEN="3")
    longer = json.loads((work / "table1.lenpen3.json").read_text())
    lengths = [of["systems"]["transformer-mle"]["figures"]["length"]["value"] for of in (table, longer)]
    assert lengths[0] <= lengths[1] and (work / "table1.json").read_bytes() == kept
    (work / "replies.2").mkdir()
    for row in ("mle", "ami"):
        shutil.copy(work / "replies.1" / f"transformer-{row}.txt", work / "replies.2")
    assert "transformer-mmi: no seed 2, left out" in run("dailydialog", "5_score.sh", settings, SEEDS="1 2")
    seeds = json.loads((work / "table1.seeds.json").read_text())["systems"]
    assert set(seeds) == {"transformer-mle", "transformer-ami"} and seeds["transformer-ami"]["seeds"] == [1, 2]
    assert seeds["transformer-ami"]["figures"]["bleu"]["deviation"] == 0 and seeds["transformer-ami"]["p"]["bleu"] <= 1
    (work / "transformer.1" / "refit.mle.pt").write_text("left behind by a call that was interrupted")
    information = run("dailydialog", "6_information.sh", settings)
    refitted = [line.split("\t") for line in information.splitlines() if line.startswith("refitted")]
    assert [row for _, row, _ in refitted] == ROWS and all(float(bound) < 0 for _, _, bound in refitted)
    second = json.loads((work / "table2.transformer.json").read_text())
    assert set(second) == set(ROWS) and "likeness_real" in information
    assert all(value is not None for row in second.values() for value in row.values())
    assert "figure3.transformer.png" in run("dailydialog", "7_figures.sh", settings)
    for name, rows in {"figure2": ["ami", "ami-no-k", "ami-no-clip"], "figure3": ["mmi", "ami"]}.items():
        assert (work / f"{name}.transformer.png").stat().st_size > 1000
        lines = (work / f"{name}.transformer.tsv").read_text().splitlines()[1:]
        assert {line.split("\t")[0] for line in lines} == set(rows)
    run("dailydialog", "8_examples.sh", settings)
    assert (work / "table4.md").read_text().count("### Line") == 3
    assert (work / "human-eval" / "key.json").exists()
    assert "human-eval is there" in run("dailydialog", "8_examples.sh", settings)


def test_personachat_lstm_with_subwords(environment, tmp_path):
    """Personas before the history, subwords, LSTMs; one row is enough for a table."""
    personachat(tmp_path / "raw")
    work = tmp_path / "work"
    settings = {**environment, "DATA": str(tmp_path / "raw"), "WORK": str(work), "ARCH": "lstm"}
    run("personachat", "1_prepare.sh", settings, PREPARE="--persona --lowercase --bpe-merges 20")
    assert "your persona" in (work / "bin" / "test.hist").read_text()
    assert "@@" in (work / "bin" / "dict.hist.txt").read_text()
    run("personachat", "2_pretrain.sh", settings)
    run("personachat", "3_train.sh", settings, "mle")
    run("personachat", "4_rerank.sh", settings)
    run("personachat", "5_score.sh", settings)
    replies = (work / "replies.1" / "lstm-mle.txt").read_text()
    assert "@@" not in replies and "<sep>" not in replies
    systems = {"lstm-mle", "lstm-mle-reranked", "lstm-mle-mbr"}
    assert set(json.loads((work / "table1.json").read_text())["systems"]) == systems
    assert "none of the rows mmi ami is trained" in run("personachat", "7_figures.sh", settings)
    run("personachat", "8_examples.sh", settings)


def test_mistakes_are_named(environment, tmp_path):
    settings = {**environment, "WORK": str(tmp_path / "work"), "DATA": str(tmp_path)}
    for recipe in ("dailydialog", "personachat"):
        assert "has no train dialogues" in run(recipe, "1_prepare.sh", settings, code=2)
        assert "run 1_prepare.sh first" in run(recipe, "2_pretrain.sh", settings, code=2)
    assert "there is no row 'gan'" in run("dailydialog", "3_train.sh", settings, "gan", code=2)
    assert "choose from lstm transformer" in run("dailydialog", "2_pretrain.sh", settings, code=2, ARCH="gru")
