"""The numbered scripts of examples/multi30k on a few sentences of another corpus in the same files."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fairseq_ami import hub

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "examples" / "multi30k"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Raw files as Multi30k has them, and the settings of a very short run."""
    folder = tmp_path_factory.mktemp("multi30k")
    text, raw = folder / "text", folder / "raw"
    sizes = ["--train", "1000", "--valid", "30", "--test", "30"]
    subprocess.run([sys.executable, ROOT / "examples/toy/make_corpus.py", text, *sizes], check=True)
    raw.mkdir()
    for ours, theirs in (("train", "train"), ("valid", "val"), ("test", "test_2016_flickr")):
        for language in ("en", "de"):
            content = (text / f"{ours}.{language}").read_bytes()
            (raw / f"{theirs}.{language}.gz").write_bytes(gzip.compress(content))
    command = folder / "bin" / "fairseq-ami"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairseq_ami.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    short = {
        "MERGES": "60",
        "EPOCHS": "15",
        "CONVERGE": "60",
        "NOISE_UPDATES": "2",
        "MAX_UPDATE": "8",
        "OMP_NUM_THREADS": "1",
    }
    return {
        **os.environ,
        **short,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "DATA": str(raw),
        "WORK": str(folder / "work"),
    }


def run(script, environment, *argv, **settings):
    command = ["bash", SCRIPTS / script, *argv]
    result = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return result.stdout


def test_scripts_run_end_to_end_and_again(environment):
    """Each script works, both directions are scored, and a second call goes on instead of starting again."""
    run("1_prepare.sh", environment)
    run("2_pretrain.sh", environment)
    for direction in ({}, {"SRC": "de", "TGT": "en"}):
        run("3_noise.sh", environment, **direction)
        run("4_minimax.sh", environment, **direction)
        scores = run("5_score.sh", environment, **direction).splitlines()
        assert [line.split("\t")[0] for line in scores] == ["before", "after", "last"]
        assert all("version:" in line and "tok:13a" in line for line in scores)
    tuned = run("5_score.sh", environment, WHICH="", LENPENS="0 1.5").splitlines()  # of the pair trained first
    penalties = dict(reversed(entry.split(":")) for entry in tuned[0].split(": ")[2].split())
    assert list(penalties) == ["0", "1.5"] and len(tuned) == 2 and tuned[1].startswith("tuned\tBLEU")
    assert tuned[0].startswith("tuned: length penalty " + max(reversed(penalties), key=lambda p: float(penalties[p])))
    assert "has begun" in run("3_noise.sh", environment)
    ami = f"{environment['WORK']}/en-de.ami.1"
    found = run("6_information.sh", environment, f"ami={ami}", REFIT_UPDATES="5").splitlines()
    rows = [line.split("\t") for line in found]
    assert rows[0][:4] == ["system", "bound", "bound_token", "bound_common"] and rows[1][1] == rows[1][3]  # its own Q
    assert rows[2][:2] == ["refitted", "ami"] and float(rows[2][2]) < 0
    shutil.copytree(ami, f"{ami}.copy")  # sacreBLEU takes no file twice
    table = run("7_table.sh", environment, f"ami={ami}", f"again={ami}.copy", WHICH="last")
    assert "dist_2" in table and "again" in table and "\nchrf " in table and "p (Holm)" in table
    again = run("4_minimax.sh", environment, MAX_UPDATE="10")
    assert "Loaded checkpoint" in again and "num_updates: 10 >= max_update: 10" in again


def test_few_labels(environment):
    """Every row of 9_few_labels.sh, from 200 labelled pairs on; self-training learns from what it should."""
    run("1_prepare.sh", environment)
    work = Path(environment["WORK"])
    few = {"LABELS": "200", "LAYERS": "1", "EPOCHS": "60", "WARMUP": "20", "FORWARD_UPDATES": "20", "VALID_EVERY": "10"}
    assert "(200 pairs, 800 sources)" in run("labels.sh", environment, **few)
    run("2_pretrain.sh", environment, **few)
    for row in ("labels", "self-training", "mmi", "ami", "ami-cooperative", "all"):
        run("9_few_labels.sh", environment, row, **few)
        assert (work / f"200.1.en-de.rewards.{row}.1" / "checkpoint_best.pt").exists()
    folder = work / "labels"
    labelled = (folder / "200/text/train.de").read_text().splitlines()
    written = (folder / "200.en-de.1/pairs.de").read_text().splitlines()
    assert written[-len(written) // 2 :][:200] == labelled  # after the network's own translations
    sources = (folder / "200.en-de.1/pairs.en").read_text().splitlines()
    disturbed = [len(line.split()) for line in sources[: len(sources) // 2]]
    whole = [len(line.split()) for line in (folder / "200/text/mono.en").read_text().splitlines()]
    assert 0.85 < sum(disturbed) / sum(whole) < 0.95  # one piece in ten is left out
    run("8_rewards.sh", environment, "best-of", BEST_OF="2", **few)
    picks = work / "picks/200.1.en-de.1/picks"
    assert picks.with_suffix(".en").read_text() == (folder / "200/text/train.en").read_text()
    run("5_score.sh", environment, WHICH="last", RUN=str(work / "200.1.en-de.rewards.ami.1"), **few)


def test_lstm_takes_the_same_way(environment):
    """ARCH=lstm: every script, beside what the Transformers wrote and without touching it."""
    run("1_prepare.sh", environment)
    work = Path(environment["WORK"])
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.pt")}
    lstm = {"ARCH": "lstm", "LR": "0.01", "WARMUP": "20", "EPOCHS": "4", "CONVERGE": "10"}
    run("2_pretrain.sh", environment, **lstm)
    run("3_noise.sh", environment, **lstm)
    run("4_minimax.sh", environment, **lstm)
    scores = run("5_score.sh", environment, WHICH="before last", **lstm).splitlines()
    assert [line.split("\t")[0] for line in scores] == ["before", "last"]
    ami = work / "lstm.en-de.ami.1"
    found = run("6_information.sh", environment, f"ami={ami}", REFIT_UPDATES="2", **lstm).splitlines()
    assert found[2].startswith("refitted\tami\t-")
    settings = torch.load(ami / "checkpoint_last.pt", weights_only=False)["cfg"]["model"]
    assert settings.arch == "ami_lstm" and settings.encoder_bidirectional
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_unknown_architecture_is_named(environment):
    """Another ARCH is a message before anything is written."""
    settings = {**environment, "ARCH": "gru"}
    result = subprocess.run(["bash", SCRIPTS / "2_pretrain.sh"], env=settings, capture_output=True, text=True)
    assert result.returncode == 2 and "choose transformer or lstm" in result.stderr


def test_missing_data_is_named(environment, tmp_path):
    """A folder without the raw files is a message, not a traceback."""
    settings = {**environment, "DATA": str(tmp_path), "WORK": str(tmp_path / "work")}
    result = subprocess.run(["bash", SCRIPTS / "1_prepare.sh"], env=settings, capture_output=True, text=True)
    assert result.returncode == 2 and "set DATA to the folder of the raw files" in result.stderr


def test_the_small_networks(environment):
    """From converged networks to an archive that translates both ways, and from tokens to one that interpolates."""
    work = Path(environment["WORK"])
    settings = {"GAME_UPDATES": "14", "VAE_EPOCHS": "1"}
    for script in ("1_prepare.sh", "2_pretrain.sh", "10_small_pair.sh", "11_small_vae.sh"):
        run(script, environment, **settings)
    pair = hub.from_pretrained(str(work / "small" / "multi30k.en-de.tar.gz"))
    network = pair.models[0].forward_model
    assert (len(network.encoder.layers), len(network.decoder.layers)) == (2, 4)
    assert all(isinstance(text, str) for text in (pair.translate("the dog .", max_len_b=5), pair.backtranslate("der")))
    vae = hub.text_vae(str(work / "vae" / "multi30k.en-vae.tar.gz"))
    assert len(vae.interpolate("the dog sleeps .", "a cat .", steps=3)) == 3
