"""HRED, VHRED, Dir-VHRED and VHCR from end to end: data, training, resume, workers, decoding, mistakes."""

import math
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import assert_identical, load
from functional.commands import PLUGIN, Result, run, start
from functional.export_fixtures import column, lines
from functional.recorder import free_port
from functional.settings import FP16, ami_args, stock_args, train, with_validation, workers_args
from functional.test_ami_dialog import write_dialogues

from fairseq_ami import cli

SIZES = ["--embed-dim", "8", "--encoder-hidden-size", "8", "--context-hidden-size", "8", "--decoder-hidden-size", "8"]
HRED = ["--arch", "hred_tiny", *SIZES]
ELBO = ["--criterion", "dialog_elbo", "--kl-anneal", "linear", "--kl-anneal-updates", "8"]
OWN = ["--task", "hierarchical_dialog"]
LATENT = {
    "vhred": ["--arch", "vhred_tiny", "--word-dropout", "0.25", "--bow-hidden", "8", "--bow-weight", "1"],
    "dir_vhred": ["--arch", "dir_vhred_tiny"],
    "vhcr": ["--arch", "vhcr_tiny", "--whole-dialogues", "--utterance-drop", "0.25"],
}


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """What dialog-prepare makes of toy dialogues."""
    sizes = {"train": 40, "valid": 6, "test": 5}
    texts = [f"--{split}={write_dialogues(home / f'{split}.hred', n, n)}" for split, n in sizes.items()]
    argv = ["dialog-prepare", "--format", "dailydialog", *texts, "--destdir", str(home / "hred-data")]
    assert cli.main(argv) == 0
    return home / "hred-data"


@pytest.fixture(scope="module")
def hred(home: Path, folder: Path) -> Path:
    """An HRED of stock fairseq's translation task and cross-entropy."""
    result = train(home / "hred", with_validation(stock_args(folder, home / "hred", 60, *HRED), 60))
    assert float(result.logs("valid")[-1]["valid_loss"]) < 3.0 < math.log2(9)  # of eight words and the end, in bits
    return home / "hred" / "checkpoint_last.pt"


def latent_args(name: str, folder: Path, save_dir: Path, updates: int, *extra: Any) -> List[Any]:
    args = stock_args(folder, save_dir, updates, *OWN, *LATENT[name], *SIZES, *ELBO, *extra)
    return [str(arg) for arg in args]


@pytest.fixture(scope="module")
def latent(home: Path, folder: Path, hred: Path) -> Dict[str, Path]:
    """Each model started from the HRED, whose file is not needed afterwards."""
    for name in LATENT:
        train(home / name, latent_args(name, folder, home / name, 20, "--hred-checkpoint", hred))
    return {name: home / name / "checkpoint_last.pt" for name in LATENT}


def decode(folder: Path, path: Path, out: Path, *extra: Any) -> str:
    """What fairseq-generate writes to its file."""
    argv = [folder, "--user-dir", PLUGIN, "--path", path, "--cpu", "--num-workers", 0, "--beam", 3, "--max-len-b", 8]
    argv += ["--required-batch-size-multiple", 1, "--results-path", out / "results", *extra]
    run("generate", argv, out / "generate.log")
    return (out / "results" / "generate-test.txt").read_text()


def replies(text: str) -> List[str]:
    """The hypotheses with their numbers, in order; scores are rounded as another batch rounds them."""
    split = (line.split("\t") for line in lines(text, "H"))
    return sorted(f"{number} {float(score):.4f} {words}" for number, score, words in split)


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("name", LATENT)
def test_logs(name: str, folder: Path, hred: Path, tmp_path: Path) -> None:
    """Both divergences, the bound at beta 1 and the tighter one, active units, and decoded replies."""
    extra = ["--hred-checkpoint", hred, "--iw-samples", "3", "--eval-replies"]
    result = train(tmp_path, with_validation(latent_args(name, folder, tmp_path, 8, *extra), 8))
    assert "the model starts as the HRED" in result.text
    valid = {key[6:]: value for key, value in result.logs("valid")[-1].items()}
    conversation = float(valid["kl_conversation"]) if name == "vhcr" else 0.0
    total = float(valid["reconstruction"]) + float(valid["kl_sentence"]) + conversation
    assert float(valid["nll"]) == pytest.approx(total, abs=2e-3)
    assert math.isfinite(float(valid["iw_nll"])) and "au" in valid and float(valid["reply_length"]) >= 0
    inner = result.logs("train_inner")
    assert [float(log["kl_weight"]) for log in inner] == [update / 8 for update in range(8)]


@pytest.mark.parametrize("name", LATENT)
def test_killed_and_resumed(name: str, folder: Path, tmp_path: Path) -> None:
    """Bit for bit the uninterrupted run: annealing, z, hidden words and utterances follow from the update."""
    for part in ("straight", "broken"):
        args = latent_args(name, folder, tmp_path / part, 10, "--save-interval-updates", "1", "--batch-size", "8")
        (tmp_path / part).mkdir()
        if part == "broken":
            start("train", args, tmp_path / "killed.log").kill_when(tmp_path / part / "checkpoint_1_4.pt")
        text = train(tmp_path / part, args).text
    assert "Loaded checkpoint" in text
    one, two = (load(tmp_path / part / "checkpoint_last.pt") for part in ("straight", "broken"))
    for key in ("model", "last_optimizer_state"):
        assert_identical(one[key], two[key])


def several(folder: Path, args: List[Any], world: int) -> Path:
    """The checkpoint of a run by *world* workers."""
    port = free_port()
    folder.mkdir()
    extra = [workers_args(world, rank, port) if world > 1 else [] for rank in range(world)]
    running = [start("train", [*args, *extra[rank]], folder / f"{rank}.log") for rank in range(world)]
    for each in running:
        result = each.wait()
        assert result.code == 0, result.text[-3000:]
    return folder / "checkpoint_last.pt"


@pytest.mark.parametrize("name", ["vhred", "vhcr"])
def test_two_workers_are_one(name: str, folder: Path, tmp_path: Path) -> None:
    found = []
    for world, freq in ((1, 2), (2, 1)):
        options = ["--batch-size", "8", "--update-freq", str(freq), "--optimizer", "sgd", "--lr", "0.5"]
        args = latent_args(name, folder, tmp_path / str(world), 4, *options)
        found.append(load(several(tmp_path / str(world), args, world))["model"])
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, atol=1e-5, rtol=1e-4, msg=lambda text, key=key: key + text)


@pytest.mark.parametrize("name", ["vhred", "vhcr", "dir_vhred"])
def test_half_precision(name: str, folder: Path, tmp_path: Path) -> None:
    result = train(tmp_path, with_validation(latent_args(name, folder, tmp_path, 6, *FP16), 6))
    assert math.isfinite(float(result.logs("valid")[-1]["valid_loss"]))
    assert float(result.logs("train_inner")[0]["loss_scale"]) == 4


# ---------------------------------------------------------------------- decoding


def test_hred_decodes_the_same_under_every_task(folder: Path, hred: Path, tmp_path: Path) -> None:
    """In whatever batches; what fairseq-interactive answers is the same."""
    want = replies(decode(folder, hred, tmp_path, "--task", "translation"))
    assert len(want) == len((folder / "test.hist").read_text().splitlines())
    for task in ("ami_dialog", "hierarchical_dialog"):
        assert replies(decode(folder, hred, tmp_path, "--task", task, "--batch-size", 2)) == want
    argv = [folder, "--user-dir", PLUGIN, "--path", hred, "--cpu", "--beam", 3, "--max-len-b", 8, "--buffer-size", 4]
    result = run("interactive", [*argv, "--input", folder / "test.hist"], tmp_path / "interactive.log")
    assert [row.rsplit(" ", 1)[-1] for row in want] != [] and len(column(result.text, "H")) == len(want)
    assert sorted(column(result.text, "H")) == sorted(row.split(" ", 2)[2] for row in want)


@pytest.mark.parametrize("name", LATENT)
def test_latent_models_decode(name: str, folder: Path, latent: Dict[str, Path], tmp_path: Path) -> None:
    """One z a history whatever task and batch; --latent-draws gives one hypothesis for each of several."""
    want = replies(decode(folder, latent[name], tmp_path, *OWN))
    task = {"vhred": "translation", "dir_vhred": "ami_dialog", "vhcr": "ami_dialog"}[name]
    assert replies(decode(folder, latent[name], tmp_path, "--task", task, "--batch-size", 2)) == want
    if name == "vhred":
        assert replies(decode(folder, latent[name], tmp_path, *OWN, "--seed", 5)) != want
    drawn = replies(decode(folder, latent[name], tmp_path, *OWN, "--latent-draws", 3, "--nbest", 3))
    assert len(drawn) == 3 * len(want) and set(want) <= set(drawn)


@pytest.mark.parametrize("name", ["hred", "vhcr"])
def test_odd_histories(name: str, folder: Path, hred: Path, latent: Dict[str, Path], tmp_path: Path) -> None:
    """No separator, an empty line, silences at any place, a history that is cut in the middle of an utterance."""
    odd = ["w1 w2", "", "<sep>", "w1 <sep> <sep> w4", "w3 <sep>", "<sep> w3", "w1 w2 w3 w4 <sep> w5 w6"]
    (tmp_path / "odd").write_text("".join(line + "\n" for line in odd))
    path = hred if name == "hred" else latent[name]
    argv = [folder, "--user-dir", PLUGIN, *OWN, "--path", path, "--cpu", "--max-source-positions", 5]
    result = run("interactive", [*argv, "--input", tmp_path / "odd", "--buffer-size", 7], tmp_path / "log")
    assert len(column(result.text, "H")) == len(odd)


# ---------------------------------------------------------------------- AMI on top


def test_ami_over_two_hreds(folder: Path, hred: Path, tmp_path: Path) -> None:
    """The pair starts as its two HREDs, plays all phases, and decodes as the one that it started from."""
    backward = tmp_path / "backward"
    train(backward, stock_args(folder / "backward", backward, 5, *HRED, "-s", "context", "-t", "last"))
    names = [f"--forward-checkpoint={hred}", f"--backward-checkpoint={backward / 'checkpoint_last.pt'}"]
    still = ["--forward-lr", "0", "--weight-clip-mode", "none", "--backward-lr", "0.01", "--noise-lr", "0.01"]
    lengths = ["--task", "ami_dialog", "--sample-max-len-a", "0", "--sample-max-len-b", "6"]
    args = ami_args(folder, tmp_path / "pair", 6, *lengths, *names, *still, network=["--arch", "ami_hred_tiny", *SIZES])
    train(tmp_path / "pair", args)
    pair = tmp_path / "pair" / "checkpoint_last.pt"
    state, before = load(pair)["model"], load(backward / "checkpoint_last.pt")["model"]
    assert not all(torch.equal(state[f"backward_model.{key}"], value) for key, value in before.items())
    want = replies(decode(folder, hred, tmp_path, "--task", "ami_dialog"))
    assert replies(decode(folder, pair, tmp_path, "--task", "ami_dialog")) == want


# ---------------------------------------------------------------------- mistakes


def fails(result: Result, *messages: str) -> None:
    assert result.code != 0 and "Traceback" not in result.text, result.text[-3000:]
    assert all(message in result.text for message in messages), result.text[-2000:]


def test_wrong_starts(folder: Path, hred: Path, latent: Dict[str, Path], tmp_path: Path) -> None:
    def attempt(*extra: Any) -> Result:
        return train(tmp_path, stock_args(folder, tmp_path / "run", 2, *extra), check=False)

    vhred = ["--arch", "vhred_tiny", *SIZES]
    fails(attempt(*vhred, *ELBO, "--hred-checkpoint", latent["vhcr"]), "of the model 'vhcr_tiny'", "--arch hred")
    fails(attempt(*vhred), "--criterion dialog_elbo")
    fails(attempt("--arch", "transformer_tiny", "--criterion", "dialog_elbo"), "--arch hred, vhred, dir_vhred and vhcr")
    fails(attempt("--arch", "transformer_tiny", *OWN, "--whole-dialogues"), "leave it out for others")
    # an older folder has no whole dialogues
    old = tmp_path / "old"
    old.mkdir()
    for path in folder.iterdir():
        if path.is_file() and "dialogue" not in path.name:
            (old / path.name).write_bytes(path.read_bytes())
    argv = latent_args("vhcr", old, tmp_path / "run", 2)
    fails(train(tmp_path, argv, check=False), "no whole dialogues", "dialog-prepare", "leave --whole-dialogues out")


def test_a_task_without_dialogues_for_vhcr(folder: Path, tmp_path: Path) -> None:
    """History and reply stand in for the conversation, which is said."""
    network = [word for word in LATENT["vhcr"] if word != "--whole-dialogues"]
    result = train(tmp_path, stock_args(folder, tmp_path, 3, *network, *SIZES, *ELBO))
    assert result.text.count("and no whole dialogues: vhcr takes a history and its reply for the conversation") == 1
