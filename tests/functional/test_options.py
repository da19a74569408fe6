"""Every option that the documentation names, once; what is logged; and the rest of fairseq around it."""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import load
from functional.commands import PLUGIN, run
from functional.recorder import train_workers
from functional.settings import (
    BEST_BLEU,
    LOGGING,
    LSTM,
    NETWORKS,
    TRANSFORMER,
    TRANSFORMER_SIZES,
    ami_args,
    stock_args,
    train,
    with_validation,
)

from fairseq_ami import cli

SHORT = ["--phase-cycle", "noise=2,forward=2,backward=1", "--no-save"]
OPTIONS = {
    "mmi": ["--objective", "mmi"],
    "mmi with real pairs": ["--objective", "mmi", "--cosine-multiplier", "none", "--real-weight", "1"],
    "mle": ["--objective", "mle", "--num-samples", "1", "--label-smoothing", "0.1"],
    "no noise": ["--no-latent-noise"],
    "teacher forced": ["--sampler", "teacher-forced"],
    "unlikelihood": ["--fake-loss", "unlikelihood"],
    "hinge": ["--fake-loss", "hinge", "--fake-margin", "3"],
    "running mean": ["--baseline", "running-mean", "--num-samples", "1"],
    "no scale": ["--reward-scale", "none", "--num-samples", "3"],
    "reward of a sentence": ["--reward-per", "sentence", "--baseline", "running-mean", "--reward-scale", "none"],
    "scale of advantages": ["--reward-scale", "advantage-std", "--baseline", "running-mean"],
    "absolute box": ["--weight-clip-mode", "absolute", "--weight-clip", "0.1"],
    "no box": ["--weight-clip-mode", "none"],
    "pretraining": ["--pretrain-updates", "2", "--noise-updates", "1"],
    "top k": ["--sample-topk", "5", "--sample-temperature", "0.8"],
    "top p": ["--sample-topp", "0.9"],
    "noise": ["--noise-lambda", "1", "--noise-scale", "1", "--noise-norm-cap", "0", "--noise-hidden-dim", "8"],
    "infomax": ["--infomax-dim", "6", "--infomax-weight", "0.2", "--pretrain-updates", "1"],
    "infomax in mmi": ["--infomax-dim", "6", "--infomax-weight", "0.2", "--objective", "mmi"],
    "micro-batches": ["--update-freq", "2"],
    "multiplier in the backward phase": ["--cosine-multiplier", "backward"],
    "centred multiplier": ["--center-cosine"],
    "multiplier of sentence BLEU": ["--multiplier-similarity", "bleu"],
    "weights": ["--mle-weight", "0", "--policy-weight", "2", "--adversarial-weight", "0.5"],
    "schedulers": [
        "--inner-lr-scheduler", "inverse_sqrt", "--inner-lr-scheduler-args", '{"warmup_updates": 2}',
        "--forward-clip-norm", "0.1", "--backward-clip-norm", "0", "--noise-clip-norm", "5",
    ],
    "stock flags": [
        "--max-tokens", "60", "--clip-norm", "0.1", "--lr-scheduler", "fixed", "--activation-fn", "gelu",
    ],
    "activations computed again": ["--checkpoint-activations", "--dropout", "0.3"],
    "few learned positions": ["--encoder-learned-pos", "--max-source-positions", "6", "--sample-max-len-b", "20"],
    "shared embeddings": ["--share-decoder-input-output-embed", "--dropout", "0.3", "--activation-dropout", "0.1"],
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_option(case: str, data: Path, tmp_path: Path) -> None:
    result = train(tmp_path, ami_args(data, tmp_path, 5, *SHORT, *OPTIONS[case]))
    logs = result.logs("train_inner")
    assert logs and int(logs[-1]["num_updates"]) == 5
    assert not re.search(r'"(nan|inf|-inf)"', result.text)


@pytest.mark.parametrize("case", ["teacher forced", "unlikelihood", "pretraining", "mmi"])
def test_option_with_lstm(case: str, data: Path, tmp_path: Path) -> None:
    train(tmp_path, ami_args(data, tmp_path, 5, *SHORT, *OPTIONS[case], network=LSTM))


def frozen_args(data: Path, folder: Path, updates: int, *extra: Any) -> List[Any]:
    """LSTMs whose embeddings are not trained; those of the decoders come from a file."""
    vectors = folder / "vectors.txt"
    vectors.write_text("1 16\nt0 " + "0.25 " * 16 + "\n")
    frozen = ["--encoder-freeze-embed", "--decoder-freeze-embed", "--decoder-embed-path", vectors]
    fast = [f"--{player}-lr=0.05" for player in ("forward", "backward", "noise")]
    return ami_args(data, folder, updates, *frozen, *fast, "--pretrain-updates", 1, *extra, network=LSTM)


@pytest.mark.parametrize("workers", [1, 2])
def test_frozen_embeddings(workers: int, data: Path, tmp_path: Path) -> None:
    """They stay what they were through all phases, and the common Q of validation is the frozen one."""
    args = frozen_args(data, tmp_path, 7, "--save-interval-updates", 1)
    (result, *_) = train_workers(tmp_path, with_validation(args, 1), workers)
    first, last = (load(tmp_path / f"checkpoint_{name}.pt")["model"] for name in ("1_1", "last"))
    moved = {name for name, before in first.items() if not torch.equal(before, last[name])}
    assert not [name for name in moved if "embed_tokens" in name] and len(moved) > 30
    assert last["forward_model.decoder.embed_tokens.weight"][4].eq(0.25).all()  # t0
    logs = result.logs("valid")
    common, own = ([float(log[f"valid_vim_bound{name}"]) for log in logs] for name in ("_common", ""))
    assert common[0] == own[0] and common[-1] != own[-1]


def test_frozen_networks_without_their_file(data: Path, tmp_path: Path) -> None:
    """The pair goes on training, and a network of it is decoded by a fairseq that does not know the plugin."""
    args = frozen_args(data, tmp_path, 2)
    train(tmp_path, args)
    (tmp_path / "vectors.txt").unlink()
    assert "Loaded checkpoint" in train(tmp_path, [*args, "--max-update", 4]).text
    plain = tmp_path / "plain.pt"
    assert cli.main(["export", str(tmp_path / "checkpoint_last.pt"), str(plain), "--direction", "forward"]) == 0
    argv = [data, "--path", plain, "--cpu", "--max-len-b", 5, "--num-workers", 0]
    assert "H-0" in run("generate", argv, tmp_path / "generate.log").text


@pytest.mark.parametrize("network", ["transformer", "lstm"])
def test_cut_sources_keep_their_targets(network: str, data: Path, tmp_path: Path) -> None:
    """The limit of the sources is none of the targets; learned positions end there."""
    learned = ["--encoder-learned-pos", "--decoder-learned-pos"] if network == "transformer" else []
    args = ["--truncate-source", "--max-source-positions", 4, "--pretrain-updates", 1, *learned]
    result = train(tmp_path, ami_args(data, tmp_path, 7, *args, network=NETWORKS[network]))
    assert "skipped" not in result.text
    assert load(tmp_path / "checkpoint_last.pt")["extra_state"]["train_iterator"]["iterations_in_epoch"] == 7


def test_mmi_fixed_leaves_the_backward_network_alone(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    names = [f"--{name}-checkpoint={path}" for name, path in stock.items()]
    train(tmp_path, ami_args(data, tmp_path, 6, *names, "--objective", "mmi-fixed", "--forward-lr", "0.01"))
    state = load(tmp_path / "checkpoint_last.pt")
    assert state["last_optimizer_state"]["ami"]["counts"]["forward"] == 6
    for direction, moved in (("forward", True), ("backward", False)):
        for name, before in load(stock[direction])["model"].items():
            after = state["model"][f"{direction}_model.{name}"]
            assert torch.equal(before, after) or (moved and "version" not in name), name
    embedding = "encoder.embed_tokens.weight"
    assert not torch.equal(load(stock["forward"])["model"][embedding], state["model"][f"forward_model.{embedding}"])


REWARDS = ("reward", "reward_std", "advantage_std", "baseline")
TRAIN_METRICS = {
    "phase", "multiplier", "vim_bound", "entropy", "length_ratio", "forward_nll",
    "backward_nll_real", "backward_nll_fake", "clipped_fraction", "noise_norm",
    *(f"{kind}_{player}" for kind in ("lr", "gnorm") for player in ("forward", "backward", "noise")),
    *(f"{name}_{phase}" for name in REWARDS for phase in ("forward", "noise")),
}  # fmt: skip
VALID_METRICS = {
    "vim_bound", "vim_bound_token", "vim_bound_common", "vim_bound_token_common", "backward_nll_real",
    "backward_nll_fake", "multiplier", "entropy", "length_ratio", "nll_gap", "bleu",
}  # fmt: skip


@pytest.fixture(scope="module")
def validated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("validated")
    args = with_validation(ami_args(data, folder, 12, "--backward-lr", "0.01", "--pretrain-updates", "1"), 3)
    result = train(folder, [*args, *BEST_BLEU, "--tensorboard-logdir", folder / "tensorboard"])
    return folder, result


def test_json_logs(validated: Any) -> None:
    _, result = validated
    seen = {name for line in result.logs("train_inner") for name, value in line.items() if value is not None}
    assert TRAIN_METRICS <= seen, TRAIN_METRICS - seen
    valid = result.logs("valid")
    assert len(valid) == 4
    names = {name.removeprefix("valid_") for name in valid[-1]}
    assert VALID_METRICS <= names, VALID_METRICS - names
    last = {name: float(value) for name, value in valid[-1].items() if value is not None}
    assert last["valid_vim_bound"] != last["valid_vim_bound_common"]
    assert (validated[0] / "checkpoint_best.pt").exists()


def test_validate_knows_no_common_q(validated: Any, data: Path) -> None:
    """fairseq-validate has no optimizer: it measures the own Q, under that name only, as the training did."""
    folder, trained = validated
    args = ["--task", "ami_translation", "--path", folder / "checkpoint_last.pt", "--user-dir", PLUGIN, "--cpu"]
    result = run(
        "validate", [data, *args, *LOGGING, "--batch-size", "8", "--num-workers", "0"], folder / "validate.log"
    )
    (found,), last = result.logs("valid"), trained.logs("valid")[-1]
    assert {"valid_vim_bound", "valid_vim_bound_token"} <= set(found)
    assert float(found["valid_vim_bound"]) == pytest.approx(float(last["valid_vim_bound"]), abs=2e-3)
    assert not [name for name in found if name.endswith("_common")]


def test_phases_in_the_logs(validated: Any) -> None:
    """Each line tells the phase that it is about: 0 pretraining, 1 noise, 2 forward, 3 backward."""
    phases = [int(line["phase"]) for line in validated[1].logs("train_inner")]
    assert phases == [0, 1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3]


def test_tensorboard(validated: Any) -> None:
    folder, _ = validated
    content = {kind: b"".join(p.read_bytes() for p in (folder / "tensorboard" / kind).iterdir())
               for kind in ("train_inner", "valid")}  # fmt: skip
    missing = [name for name in sorted(TRAIN_METRICS) if name.encode() not in content["train_inner"]]
    missing += [name for name in sorted(VALID_METRICS) if name.encode() not in content["valid"]]
    assert not missing


def offline() -> None:
    os.environ["WANDB_MODE"] = "offline"


def test_weights_and_biases(data: Path, tmp_path: Path) -> None:
    """Offline: the numbers of each player, and a page of samples for each showing."""
    if importlib.util.find_spec("wandb") is None:  # importing it would take seconds
        pytest.skip("wandb is not installed")
    args = with_validation(ami_args(data, tmp_path, 12, "--log-samples", "4"), 6)
    argv = [*args, *BEST_BLEU, "--wandb-project", "toy"]
    run("train", argv, tmp_path / "train.log", cwd=tmp_path, hook=offline)
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = log.read_bytes()
    names = [f"train_inner/{name}" for name in TRAIN_METRICS - {"lr"}] + [f"valid/{name}" for name in VALID_METRICS]
    assert not [name for name in names if name.encode() not in content]
    pages = sorted(path.name for path in log.parent.glob("files/media/html/samples_*.html"))
    assert [name.rsplit("_", 1)[0] for name in pages] == ["samples_forward_8", "samples_noise_0", "samples_noise_6"]


def test_patience_counts_only_what_the_forward_network_did(data: Path, tmp_path: Path) -> None:
    """BLEU cannot change in the 8 validations of the noise and backward phases."""
    cycle = ["--noise-updates", "4", "--phase-cycle", "backward=4,forward=4", "--forward-lr", "0"]
    args = with_validation(ami_args(data, tmp_path, 40, *cycle), 1)
    result = train(tmp_path, [*args, *BEST_BLEU, "--patience", "3", "--no-save"])
    assert "early stop" in result.text
    # forward updates are 9, 10, 11, ...: three validations without an improvement end at the third
    updates = [int(line["valid_num_updates"]) for line in result.logs("valid")]
    assert updates[-1] == 11


def test_noisy_transformer(data: Path, tmp_path: Path) -> None:
    """Alone, with fairseq's own task, criterion and optimizer."""
    args = [
        *stock_args(data, tmp_path, 6, "--arch", "noisy_transformer_tiny", *TRANSFORMER_SIZES, "--noise-scale", "0.5"),
        "--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1",
    ]  # fmt: skip
    train(tmp_path, args)
    decode = [data, "--path", tmp_path / "checkpoint_last.pt", "--user-dir", PLUGIN, "--cpu"]
    decode += ["--no-progress-bar", "--num-workers", "0"]
    noisy = [*decode, "--model-overrides", "{'noise_at_generation': True, 'noise_scale': 20.0}"]
    texts = [run("generate", options, tmp_path / "generate.log").text for options in (decode, decode, noisy)]
    found = [[line for line in text.splitlines() if line.startswith("H-")] for text in texts]
    assert found[0] == found[1] != found[2]


def test_console_command(data: Path, tmp_path: Path) -> None:
    """The real thing once: a fresh interpreter, the command line as a user types it."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "fairseq_cli.train"]
    args = [str(arg) for arg in ami_args(data, tmp_path, 3, network=TRANSFORMER)]
    result = subprocess.run([*command, *args], capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert result.returncode == 0, result.stderr[-3000:]
    args[args.index("ami_phased")], args[args.index("--save-dir") + 1] = "adam", str(tmp_path / "other")
    result = subprocess.run([*command, *args], capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert result.returncode != 0 and "--optimizer ami_phased" in result.stderr and "Traceback" not in result.stderr
