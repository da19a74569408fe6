"""The recipes of the text VAEs, end to end on a few sentences with tiny networks."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
ROWS = "lstm-lm vae vae-bow infovae cyclical lagging vae-mine vae-mine-pre".split()
TINY = "++model.embed_dim=8 ++model.hidden_size=12 ++model.critic_hidden=8 dataset.num_workers=0"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The commands of this checkout, and the settings of a very short run."""
    folder = tmp_path_factory.mktemp("recipes")
    command = folder / "bin" / "fairseq-ami"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairseq_ami.cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    short = {
        "MAX_EPOCH": "1",
        "LM_EPOCHS": "1",
        "AE_EPOCHS": "1",
        "OMP_NUM_THREADS": "1",
        "EXTRA": TINY,
        "EVAL": "--cpu --iw-samples 2 --samples 50",
    }
    for name in ("DATA", "TRAIN", "VALID", "TEST"):
        os.environ.pop(name, None)
    return {**os.environ, **short, "PATH": path, "PYTHONPATH": str(ROOT), "folder": str(folder)}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Cased, untokenised sentences: 320, 40 and 40."""
    folder = tmp_path_factory.mktemp("sentences")
    code = "import sys, pathlib, corpus; corpus.write_corpus(pathlib.Path(sys.argv[1]), 1, {sizes})"
    sizes = {"train": 320, "valid": 40, "test": 40}
    command = [sys.executable, "-c", code.format(sizes=sizes), folder]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(EXAMPLES / "toy_vae")})
    text = {split: (folder / split).read_text().splitlines() for split in sizes}
    return {split: [raw(line) for line in lines] for split, lines in text.items()}


def raw(line):
    return line[0].upper() + line[1:].replace(" .", ".").replace(" ?", "?")


def tokens(line):
    """What sacremoses makes of a sentence with these two signs, lower-cased."""
    return line.lower().replace(".", " .").replace("?", " ?")


def write(path, lines):
    """Gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def run(recipe, script, environment, *argv, code=0, cwd=None, **settings):
    command = ["bash", EXAMPLES / recipe / script, *argv]
    result = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True, cwd=cwd)
    assert result.returncode == code, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout if code == 0 else result.stderr


def test_ptb_all_rows(environment, sentences, tmp_path):
    """All rows are trained, measured, put beside the published ones and looked at; a second call goes on."""
    for split, lines in sentences.items():
        write(tmp_path / "raw" / f"ptb.{split}.txt.gz", [tokens(line) for line in lines])
    settings = {**environment, "DATA": str(tmp_path / "raw"), "WORK": "work"}  # relative to where it is called
    run("ptb", "1_prepare.sh", settings, cwd=tmp_path)
    logs = {row: run("ptb", "2_train.sh", settings, row, cwd=tmp_path) for row in ROWS}
    assert "num_updates 10 " in logs["vae-mine"] and "bound" in logs["vae-mine"] and "bow" in logs["vae-bow"]
    assert "mmd" in logs["infovae"] and "kl_weight 0.1" in logs["vae"]
    assert "'lagging': True" in logs["lagging"] and "'_name': 'text_lm_lstm'" in logs["lstm-lm"]
    assert "'mi_weight': 2.0" in logs["vae-mine"] and "'encoder_optimizer': 'adam'" in logs["vae-mine"]
    assert "'kl_anneal_epochs': 1.0" in logs["cyclical"] and "'kl_anneal': cyclic" in logs["cyclical"]
    parts = logs["vae-mine-pre"]
    assert parts.count("the decoder starts as the language model") == 2 and "the encoder starts as that of" in parts
    assert "'kl_weight': 0.0" in parts and "| iw_nll " in parts
    again = run("ptb", "2_train.sh", settings, "vae-mine-pre", cwd=tmp_path, MAX_EPOCH="2", IW_EPOCHS="1")
    assert again.count("Loaded checkpoint") == 1 and "importance-weighted training from update 10 on" in again
    again = run("ptb", "2_train.sh", settings, "vae-mine", cwd=tmp_path, MAX_EPOCH="2")
    assert "Loaded checkpoint" in again and "num_updates 20 " in again
    run("ptb", "3_evaluate.sh", settings, cwd=tmp_path)
    assert run("ptb", "3_evaluate.sh", settings, "vae", cwd=tmp_path).endswith("vae.json is there\n")
    table = run("ptb", "4_table.sh", settings, cwd=tmp_path)
    measured = json.loads((tmp_path / "work" / "eval" / "vae-mine.json").read_text())["results"][0]
    assert f"| VAE-MINE | {measured['nll']:.2f} | {measured['kl']:.2f} |" in table
    pretrained = json.loads((tmp_path / "work" / "eval" / "vae-mine-pre.json").read_text())["results"][0]
    assert f"| VAE-MINE, pretrained | {pretrained['nll']:.2f} |" in table
    assert "| VAE-MINE | 100.91 | 4.86 | 87.75 | 3.01 | 13 | 13.34 | 400.21 |" in table and "not run" not in table
    language_model = json.loads((tmp_path / "work" / "eval" / "lstm-lm.json").read_text())["results"][0]
    assert language_model["kl"] is None and language_model["iw_nll"] is None
    assert (tmp_path / "work" / "training.png").read_bytes().startswith(b"\x89PNG")
    shown = run("ptb", "5_look.sh", settings, "vae-mine", cwd=tmp_path)
    assert all(word in shown for word in ("| input |", "| sample 3 |", "| A |", "| query |", "latent.png"))


def test_snli_from_captions(environment, sentences, tmp_path):
    """Lower-cased tokens; training sentences that stand in the test set are left out, whatever their case and signs."""
    kept = [line for line in sentences["train"] if line not in sentences["test"] + sentences["valid"]]
    repeated = sentences["test"][0].upper().replace(".", " !")
    write(tmp_path / "raw" / "train.en.gz", [*kept, repeated, ""])
    write(tmp_path / "raw" / "val.en.gz", sentences["valid"])
    write(tmp_path / "raw" / "test_2016_flickr.en.gz", sentences["test"])
    settings = {**environment, "DATA": str(tmp_path / "raw"), "WORK": str(tmp_path / "work")}
    run("snli", "1_prepare.sh", settings)
    text = (tmp_path / "work" / "text" / "train").read_text().splitlines()
    assert text == [tokens(line) for line in kept]
    run("snli", "2_train.sh", settings, "vae-mine")
    run("snli", "3_evaluate.sh", settings, "vae-mine")
    table = run("snli", "4_table.sh", settings)
    assert table.count("not run") == 6 * 13 and "| LaggingVAE | 33.10 | 1.34 |" in table


def test_snli_from_its_own_files(environment, sentences, tmp_path):
    """Both sentences of a pair; --leave-out and LIMIT hold for them as well."""
    for split, lines in zip(("train", "dev", "test"), sentences.values()):
        pairs = [json.dumps({"sentence1": a, "sentence2": b}) for a, b in zip(lines[::2], lines[1::2])]
        write(tmp_path / "raw" / f"snli_1.0_{split}.jsonl", pairs)
    settings = {**environment, "DATA": str(tmp_path / "raw"), "WORK": str(tmp_path / "work"), "LIMIT": "10"}
    run("snli", "1_prepare.sh", settings)
    text = (tmp_path / "work" / "text" / "test").read_text().splitlines()
    assert text == [tokens(line) for line in sentences["test"][:10]]


def test_yahoo(environment, sentences, tmp_path):
    """Long documents are left out, the vocabulary is cut."""
    for split, lines in sentences.items():
        write(tmp_path / "raw" / f"{split}.txt", [*lines, " ".join(["word"] * 200)])
    settings = {**environment, "DATA": str(tmp_path / "raw"), "WORK": str(tmp_path / "work"), "TOKENIZE": "1"}
    run("yahoo", "1_prepare.sh", settings, VOCABULARY="40")
    assert len((tmp_path / "work" / "text" / "train").read_text().splitlines()) == 320
    dictionary = (tmp_path / "work" / "bin" / "dict.txt").read_text().splitlines()
    assert len(dictionary) == 40 - 4  # beside four special symbols
    run("yahoo", "2_train.sh", settings, "vae")
    run("yahoo", "3_evaluate.sh", settings)
    assert "| VAE-0.5 | 340.64 | 0.63 |" in run("yahoo", "4_table.sh", settings)


@pytest.mark.parametrize(
    "recipe,script,argv,message",
    [
        ("ptb", "1_prepare.sh", (), "has no train text: none of ptb.train.txt"),
        ("snli", "1_prepare.sh", (), "has no test text"),
        ("ptb", "2_train.sh", ("vae",), "run 1_prepare.sh first"),
        ("ptb", "2_train.sh", ("vea",), "there is no row 'vea'"),
        ("ptb", "2_train.sh", (), "name one row"),
        ("yahoo", "5_look.sh", ("lstm-lm",), "no latent space"),
    ],
)
def test_what_is_missing_is_named(environment, tmp_path, recipe, script, argv, message):
    settings = {**environment, "DATA": str(tmp_path), "WORK": str(tmp_path / "work")}
    assert message in run(recipe, script, settings, *argv, code=2)


def test_no_data_for_yahoo(environment, tmp_path):
    message = run("yahoo", "1_prepare.sh", {**environment, "WORK": str(tmp_path)}, code=2)
    assert "cannot be downloaded" in message
