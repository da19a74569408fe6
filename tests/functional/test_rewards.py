"""Rewards of any kind from end to end: without an opponent, of a user's own, from a configuration; mistakes."""

import math
from pathlib import Path
from typing import Any, Dict, List

import pytest
from functional.checkpoints import load
from functional.commands import PLUGIN, Result, run
from functional.export_fixtures import column, generate, lines
from functional.rewarded import write_module, write_unlabelled
from functional.settings import BLEU, LSTM, ami_args, hydra_args, train, with_validation

from fairseq_ami import cli
from fairseq_ami.errors import AMIError
from fairseq_ami.hub import from_pretrained

ALONE = ["--objective", "reward", "--no-backward-network", "--no-latent-noise", "--phase-cycle", "forward=2"]
RISK = [*ALONE, "--reward", "chrf", "--policy-loss", "minimum-risk", "--risk-alpha", "0.5", "--num-samples", "4"]
RISK += ["--forward-lr", "0.001"]


@pytest.fixture(scope="module")
def alone(home: Path, data: Path, stock: Dict[str, Path]) -> Path:
    """Minimum risk from a stock checkpoint, stopped, and resumed."""
    folder = home / "minimum-risk"
    args = ami_args(data, folder, 4, *RISK, f"--forward-checkpoint={stock['forward']}")
    train(folder, [*with_validation(args, 2), *BLEU])
    again = train(folder, [*with_validation(args, 2), *BLEU, "--max-update", 6])
    assert "Loaded checkpoint" in again.text
    return folder / "checkpoint_last.pt"


def test_minimum_risk_without_an_opponent(alone: Path, stock: Dict[str, Path]) -> None:
    """It trains, validates and resumes; the network has moved from where it began, and is all there is."""
    again = Result(0, (alone.parent / "train.log").read_text())
    valid = again.logs("valid")[-1]
    assert float(valid["valid_bleu"]) > 0 and math.isfinite(float(valid["valid_loss"]))
    assert "valid_vim_bound" not in valid
    updates = [log for log in again.logs("train_inner")]
    assert [int(log["num_updates"]) for log in updates] == [5, 6]
    assert all(0 < float(log["reward_chrf_forward"]) <= 1 and float(log["gnorm_forward"]) > 0 for log in updates)
    state = load(alone)
    assert state["last_optimizer_state"]["ami"]["counts"] == {"pretrain": 0, "forward": 6}
    start = load(stock["forward"])["model"]
    assert state["model"].keys() == {f"forward_model.{name}" for name in start}
    name = "decoder.output_projection.weight"
    assert 1e-4 < float((state["model"][f"forward_model.{name}"] - start[name]).abs().max()) < 0.1


def test_it_decodes_everywhere_alike(alone: Path, data: Path, tmp_path: Path) -> None:
    """fairseq-generate with and without the plugin, and the hub."""
    want = generate(data, alone, "forward", tmp_path / "ours.log", plugin=True)
    assert cli.main(["export", str(alone), str(tmp_path / "plain.pt"), "--direction", "forward"]) == 0
    assert lines(generate(data, tmp_path / "plain.pt", "forward", tmp_path / "log"), "H") == lines(want, "H")
    sources = (data.parent / "text" / "test.en").read_text().splitlines()
    hub = from_pretrained(str(alone))
    assert hub.translate(sources, beam=5, max_len_b=20) == column(want, "H")
    with pytest.raises(AMIError, match="there is no backward network"):
        hub.translate(["t1"], direction="backward")


def test_the_other_direction_is_refused(alone: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """By every command that needs it, in one line."""
    verbs: List[List[Any]] = [
        ["bound", data, "--path", alone],
        ["rerank", data, "--path", alone, "--output", tmp_path / "out", "--cpu"],
        ["export", alone, tmp_path / "out", "--direction", "backward"],
    ]
    for argv in verbs:
        assert cli.main([str(word) for word in argv]) != 0, argv
        said = capsys.readouterr().err
        last = said.strip().splitlines()[-1]
        assert last.startswith("fairseq-ami") and "backward network" in last and "Traceback" not in said, said
        assert not (tmp_path / "out").exists()
    argv = [data, "--path", alone, "-s", "de", "-t", "en", "--cpu", "--user-dir", PLUGIN, "--task", "ami_translation"]
    result = run("generate", argv, tmp_path / "log", check=False)
    assert result.code != 0 and "has no backward network" in result.text and "Traceback" not in result.text


def test_lstm_from_scratch(data: Path, tmp_path: Path) -> None:
    """Maximum likelihood first, of the only network there is; then REINFORCE."""
    first = ["--pretrain-updates", "2", "--pretrain-lr", "0.01", "--pretrain-warmup-updates", "1"]
    args = ami_args(data, tmp_path, 5, *ALONE, "--reward", "bleu=2,chrf", *first, network=LSTM)
    result = train(tmp_path, [*with_validation(args, 5), *BLEU])
    assert load(tmp_path / "checkpoint_last.pt")["last_optimizer_state"]["ami"]["counts"] == {
        "pretrain": 2,
        "forward": 3,
    }
    last = result.logs("train_inner")[-1]
    total = 2 * float(last["reward_bleu_forward"]) + float(last["reward_chrf_forward"])
    assert float(last["reward_forward"]) == pytest.approx(total, abs=3e-4) and total > 0


def test_a_configuration_file(data: Path, tmp_path: Path) -> None:
    """Hydra runs in a folder of its own; a function of one's own is found where the command was started."""
    write_module(tmp_path)
    model = {"no_backward_network": True, "no_latent_noise": True}
    criterion = {"objective": "reward", "reward": "chrf=1,mine:brevity=0.5", "anchor_weight": 0.1}
    args = hydra_args(data, tmp_path, 2, model=model, criterion=criterion, task={"phase_cycle": "forward=1"})
    result = run("hydra-train", [*args, f"hydra.run.dir={tmp_path / 'hydra'}"], tmp_path / "log", cwd=tmp_path)
    last = result.logs("train_inner")[-1]
    assert float(last["reward_chrf_forward"]) >= 0 and float(last["reward_brevity_forward"]) > 0


# ---------------------------------------------------------------------- mistakes

TEXT = "the prefix of text without references"
REFUSED = {
    "raises": (["--reward", "mine:breaks"], "--reward mine:breaks: it raised ValueError: no such"),
    "not a number": (["--reward", "mine:nothing_finite"], "mine:nothing_finite: it returned nan for the sample"),
    "another length": (["--reward", "chrf,mine:too_few"], "mine:too_few: it returned 1 numbers for 16 samples"),
    "no module": (["--reward", "nowhere:f"], "--reward nowhere:f: cannot import nowhere"),
    "one sample": (["--policy-loss", "minimum-risk", "--num-samples", "1"], "pass --num-samples 2 or more"),
    "ratio without text": (["--unlabelled-ratio", "2"], "--unlabelled-ratio is for the sentences of --unlabelled"),
    "references wanted": (["--unlabelled", TEXT, "--reward", "log-q,chrf"], "--reward chrf compares with references"),
    "text with targets": (["--unlabelled", "valid"], "it has references as well"),
}


@pytest.fixture(scope="module")
def prefix(home: Path, dictionaries: Dict[str, Path]) -> Path:
    return write_unlabelled(home / "mistakes", dictionaries)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, data: Path, prefix: Path, tmp_path: Path) -> None:
    """One line that names the option; no checkpoint, whole or half."""
    extra, message = REFUSED[case]
    write_module(tmp_path)
    options = [prefix if word == TEXT else word for word in extra]
    result = train(tmp_path, ami_args(data, tmp_path / "run", 2, *options, "--phase-cycle", "forward=2"), check=False,
                   cwd=tmp_path)  # fmt: skip
    assert result.code != 0 and "Traceback" not in result.text, result.text[-3000:]
    (said,) = [line for line in result.text.splitlines() if line.startswith("fairseq_ami: error:")]
    assert message in said
    assert not list((tmp_path / "run").glob("checkpoint*")) and not list(tmp_path.rglob("*.tmp*"))


def test_an_anchor_that_comes_too_late(alone: Path, data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    """Where the game began is not known; a new run from the checkpoint has a start of its own."""
    before = alone.read_bytes()
    args = ami_args(data, alone.parent, 8, *RISK, "--anchor-weight", "0.1")
    result = train(tmp_path, args, check=False)
    assert result.code != 0 and "--anchor-weight: the run to resume was started without it" in result.text
    assert "Traceback" not in result.text and alone.read_bytes() == before
    extra = ["--restore-file", alone, "--reset-optimizer", "--reset-dataloader", "--reset-meters"]
    train(tmp_path, ami_args(data, tmp_path / "new", 1, *RISK, "--anchor-weight", "0.1", *extra))
    assert load(tmp_path / "new" / "checkpoint_last.pt")["last_optimizer_state"]["ami"]["origin"]
