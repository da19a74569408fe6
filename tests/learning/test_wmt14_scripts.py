"""The recipe of examples/wmt14_en_de from raw text to scores, with tiny networks on the CPU.

The text is a slice of the folder FAIRSEQ_AMI_WMT14 ({train,valid,test}.{en,de}, or newstest2008-2012, newstest2013 and
newstest2015-2020, gzipped or not); without it, a slice of the toy corpus.
"""

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from itertools import islice
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "examples" / "wmt14_en_de"
GENUINE = {"train": "newstest2008-2012", "valid": "newstest2013", "test": "newstest2015-2020"}
SIZES = {"train": 800, "valid": 12, "test": 12}


def both(options):
    return " ".join(options.replace("SIDE", side) for side in ("encoder", "decoder"))


TRANSFORMER = both("--SIDE-layers 1 --SIDE-embed-dim 32 --SIDE-ffn-embed-dim 32 --SIDE-attention-heads 2")
TRANSFORMER += " --lr 0.005 --warmup-updates 10 --max-tokens 1500 --update-freq 1"
LSTM = both("--SIDE-layers 1 --SIDE-embed-dim 16 --SIDE-hidden-size 16")
LSTM += " --decoder-out-embed-dim 16 --batch-size 32 --clip-norm 1"
SHORT = {
    "MERGES": "150", "PRETRAIN_UPDATES": "40", "GPUS": "0", "JOBS": "1", "MAX_TOKENS": "500", "BATCH_TOKENS": "500",
    "NOISE_UPDATES": "2", "PHASE_CYCLE": "noise=1,forward=2,backward=1", "MAX_UPDATE": "8", "AVERAGE": "2",
    "BEAM": "2", "OMP_NUM_THREADS": "1", "EXTRA": "--forward-lr 0.001",
}  # fmt: skip


def first_lines(path, count):
    """`\\n` alone ends a line: news text holds other separators."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        return list(islice(file, count))


def find(folder, names, language):
    for name in names:
        for path in (folder / f"{name}.{language}", folder / f"{name}.{language}.gz"):
            if path.exists():
                return path
    raise AssertionError(f"{folder} holds none of {names} in {language}")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Raw text in a folder, gzipped as it would be, and the settings of a very short run."""
    folder = tmp_path_factory.mktemp("wmt14")
    given = os.environ.get("FAIRSEQ_AMI_WMT14")
    if not given:
        sizes = [f"--{name}={size}" for name, size in SIZES.items()]
        subprocess.run([sys.executable, ROOT / "examples/toy/make_corpus.py", folder / "toy", *sizes], check=True)
    text, raw = Path(given or folder / "toy"), folder / "raw"
    raw.mkdir()
    for split, size in SIZES.items():
        for language in ("en", "de"):
            lines = first_lines(find(text, (split, GENUINE[split]), language), size)
            if split == "train":  # a repeated pair, one without its translation, and one that is much too long
                lines += [lines[0], "Only English .\n" if language == "en" else "\n", "word " * 300 + "\n"]
            content = "".join(lines).encode()
            (raw / f"{split}.{language}.gz").write_bytes(gzip.compress(content))
    command = folder / "bin" / "fairseq-ami"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairseq_ami.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    settings = {"PATH": path, "PYTHONPATH": str(ROOT), "DATA": str(raw), "WORK": str(folder / "work")}
    return {**os.environ, **SHORT, **settings}


def call(script, environment, *arguments, **settings):
    command = ["bash", SCRIPTS / script, *arguments]
    return subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True)


def run(script, environment, *arguments, **settings):
    result = call(script, environment, *arguments, **settings)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


def scores(output):
    """name -> (BLEU, signature)"""
    rows = [line.split("\t") for line in output.splitlines() if line.startswith(("before", "after"))]
    found = {name: re.search(r"BLEU\|(\S+) = ([\d.]+)", text) for name, text in rows}
    return {name: (float(match.group(2)), match.group(1)) for name, match in found.items()}


def slurm(environment, folder):
    """The batch script with stand-ins for Slurm's own commands."""
    for name, body in {"srun": 'shift\nexec "$@"', "scontrol": "exit 1"}.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    path = os.pathsep.join([str(folder), environment["PATH"]])
    settings = {**environment, "PATH": path, "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "1", "ENVIRONMENT": "none"}
    return subprocess.run(["bash", SCRIPTS / "run.slurm"], env=settings, capture_output=True, text=True)


@pytest.mark.slow
def test_from_raw_text_to_scores(environment, tmp_path):
    """Both directions; all scores with their signatures; a second call changes nothing; a YAML run on the same data."""
    work = Path(environment["WORK"])
    run("1_download.sh", environment)
    assert "training pairs: " in run("2_clean.sh", environment)
    run("3_binarise.sh", environment)
    run("4_pretrain.sh", environment, PRETRAIN_EXTRA=TRANSFORMER, SAVE_INTERVAL="10")
    for direction in ({}, {"SRC": "de", "TGT": "en"}):
        run("5_ami.sh", environment, SAVE_INTERVAL="2", **direction)
        found = scores(run("6_score.sh", environment, **direction))
        assert set(found) == {"before", "before, compounds split", "after", "after, compounds split"}
        for name, (_, signature) in found.items():
            assert f"tok:{'none' if 'compounds' in name else '13a'}" in signature and "version:" in signature
    ami = work / "transformer.en-de.ami.1"
    shutil.copytree(ami, work / "again", ignore=shutil.ignore_patterns("*.pt"))
    for runs in ([f"ami={ami}", f"again={work}/again"], [f"ami:1={ami}", f"ami:2={work}/again"]):
        table = run("7_table.sh", environment, *runs)
        assert "\nchrf " in table and ("p (Holm)" in table) == (runs[0][3] == "=")
    assert "write NAME=FOLDER" in call("7_table.sh", environment, str(ami)).stderr
    before = sorted((path, path.stat().st_mtime_ns) for path in work.rglob("*.pt"))
    again = slurm(environment, tmp_path)
    assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert again.stdout.count("has reached update") == 3 and len(scores(again.stdout)) == 4
    assert sorted((path, path.stat().st_mtime_ns) for path in work.rglob("*.pt")) == before
    assert "num_updates: 4" in yaml_run(environment, work, tmp_path)


def yaml_run(environment, work, folder):
    """config/ami.yaml with what a CPU changes."""
    values = {
        "common.user_dir": ROOT / "fairseq_ami", "common.cpu": "true", "common.fp16": "false",
        "common.log_interval": 1, "distributed_training.distributed_world_size": 1, "hydra.run.dir": folder,
        "model.forward_checkpoint": work / "transformer.mle.en-de.1/average.pt", "task.data": work / "bin",
        "model.backward_checkpoint": work / "transformer.mle.de-en.1/average.pt", "task.noise_updates": 1,
        "optimization.update_freq": "[1]", "optimization.max_update": 4, "dataset.max_tokens": 300,
        "checkpoint.save_dir": folder / "yaml",
    }  # fmt: skip
    options = ["--config-dir", SCRIPTS / "config", "--config-name", "ami"]
    options += [f"{name}={value}" for name, value in values.items()]
    command = [sys.executable, "-m", "fairseq_cli.hydra_train", *options]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    text = result.stdout + result.stderr
    assert result.returncode == 0, text[-3000:]
    return text


@pytest.mark.slow
def test_lstm_and_what_a_kill_leaves(environment):
    """The BiLSTM's settings; half a checkpoint_last.pt is not taken for a whole one."""
    settings = {"ARCH": "lstm", "PRETRAIN_EXTRA": LSTM, "SAVE_INTERVAL": "10", "PRETRAIN_UPDATES": "30"}
    for script in ("2_clean.sh", "3_binarise.sh", "4_pretrain.sh"):
        run(script, environment, **settings)
    folder = Path(environment["WORK"]) / "lstm.mle.en-de.1"
    last = folder / "checkpoint_last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    output = run("4_pretrain.sh", environment, **{**settings, "PRETRAIN_UPDATES": "40", "DIRECTIONS": "en-de"})
    assert "was damaged" in output and "checkpoint_last.pt (epoch" in output
    assert (folder / "finished").read_text() == "40\n"
    assert (folder / "checkpoint_last.pt.damaged").stat().st_size == 1000
    run("5_ami.sh", environment, ARCH="lstm", SAVE_INTERVAL="4")
    assert len(scores(run("6_score.sh", environment, ARCH="lstm"))) == 4


@pytest.mark.slow
def test_a_step_that_fails_leaves_nothing(environment, tmp_path):
    """A tokeniser that dies after some lines: its output must not be there when the script is called again."""
    broken = tmp_path / "sacremoses"
    broken.write_text("#!/bin/sh\nhead -n 3\nexit 1\n")
    broken.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), environment["PATH"]])
    settings = {"WORK": str(tmp_path / "work")}
    result = call("2_clean.sh", environment, PATH=path, **settings)
    assert result.returncode != 0 and "train.en was not written" in result.stderr
    assert not (tmp_path / "work/tok/train.en").exists() and not (tmp_path / "work/clean").exists()
    assert "training pairs" in run("2_clean.sh", environment, DEDUP="1", **settings)
    lines = (tmp_path / "work/clean/train.en").read_text().splitlines()
    assert "Only English ." not in lines and max(len(line.split()) for line in lines) <= 250
    pairs = list(zip(lines, (tmp_path / "work/clean/train.de").read_text().splitlines()))
    assert len(pairs) == len(set(pairs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, settings, message",
    [
        ("2_clean.sh", {"DATA": "/nonexistent"}, "DATA=/nonexistent has no train.en, gzipped or not"),
        ("2_clean.sh", {"DATA": ""}, "run 1_download.sh, or set DATA"),
        ("3_binarise.sh", {}, "run 2_clean.sh first"),
        ("4_pretrain.sh", {}, "run 3_binarise.sh first"),
        ("5_ami.sh", {}, "run 4_pretrain.sh first"),
        ("1_download.sh", {"TGT": "fr"}, "the languages are en and de"),
        ("1_download.sh", {"DATA": "", "STATMT": "file:///nonexistent"}, "set STATMT to a mirror, or DATA to a folder"),
    ],
)
def test_what_is_missing_is_named(script, settings, message, environment, tmp_path):
    result = call(script, environment, WORK=str(tmp_path / "work"), **settings)
    assert result.returncode == 2 and message in result.stderr, result.stderr[-2000:]


ARCHIVES = {
    "wmt13/training-parallel-europarl-v7.tgz": "training/europarl-v7.de-en",
    "wmt13/training-parallel-commoncrawl.tgz": "commoncrawl.de-en",
    "wmt14/training-parallel-nc-v9.tgz": "training/news-commentary-v9.de-en",
}


@pytest.mark.slow
def test_download_from_stand_ins(environment, tmp_path):
    """Archives of WMT's layout behind a local address, and test sets of the right length: order, carriage returns."""
    for archive, member in ARCHIVES.items():
        path = tmp_path / "mirror" / archive
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz") as tar:
            for language in ("en", "de"):
                content = f"{member} {language}\r\nsecond\rline\n".encode()
                info = tarfile.TarInfo(f"{member}.{language}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    stand_in = tmp_path / "bin" / "sacrebleu"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\n[ "$2" = wmt13 ] && seq 3000 || seq 3003\n')
    stand_in.chmod(0o755)
    settings = {"DATA": "", "WORK": str(tmp_path / "work"), "STATMT": f"file://{tmp_path}/mirror"}
    settings["PATH"] = os.pathsep.join([str(stand_in.parent), environment["PATH"]])
    assert "train: 6 pairs" in run("1_download.sh", environment, **settings)
    for language in ("en", "de"):
        lines = (tmp_path / f"work/raw/train.{language}").read_text().split("\n")
        assert lines == [line for name in ARCHIVES.values() for line in (f"{name} {language}", "secondline")] + [""]
    (tmp_path / "work/raw/test.de").write_text("1\n")
    result = call("1_download.sh", environment, **settings)
    assert result.returncode == 2 and "test.en has 3003 lines and test.de has 1" in result.stderr


def tool(name, *args):
    return subprocess.run([sys.executable, SCRIPTS / name, *args], capture_output=True, text=True)


def test_filter_by_hand(tmp_path):
    """Both limits are still inside; the second copy goes only on demand."""
    pairs = [
        ("a b c", "x y"), ("a b c d", "x y"), ("a", ""), ("a b c d e", "v w x y z"), ("a b c d e f", "u v w x y z"),
        ("a b c", "x y"),
    ]  # fmt: skip
    for side, language in enumerate(("en", "de")):
        (tmp_path / f"in.{language}").write_text("".join(pair[side] + "\n" for pair in pairs))
    for option, places in (([], [0, 3, 5]), (["--dedup"], [0, 3])):
        options = ["--languages", "en", "de", "--max-length", "5", "--max-ratio", "1.5", *option]
        result = tool("filter_pairs.py", tmp_path / "in", tmp_path / "out", *options)
        assert result.stderr == f"6 pairs, {len(places)} kept\n"
        for side, language in enumerate(("en", "de")):
            assert (tmp_path / f"out.{language}").read_text().splitlines() == [pairs[place][side] for place in places]


def test_compound_split_bleu_by_hand(tmp_path):
    """Seven tokens with the hyphen apart, the last one wrong: (6/7 5/6 4/5 3/4) ** (1/4). Unsplit they are five."""
    (tmp_path / "reference").write_text("ein rot-weißes Haus steht dort\n")  # ein rot - weißes Haus steht dort
    (tmp_path / "hypothesis").write_text("ein rot-weißes Haus steht hier\n")
    result = tool("compound_split_bleu.py", tmp_path / "reference", tmp_path / "hypothesis", "--language", "de")
    assert float(re.search(r" = ([\d.]+)", result.stdout).group(1)) == pytest.approx(100 * (3 / 7) ** 0.25, abs=0.1)
    assert "tok:none" in result.stdout
    (tmp_path / "hypothesis").write_text("eins\nzwei\n")
    result = tool("compound_split_bleu.py", tmp_path / "reference", tmp_path / "hypothesis", "--language", "de")
    assert result.returncode != 0 and "has 1 lines" in result.stderr
