"""Every row of the table through the real commands: raw text, fairseq-preprocess, fairseq-train."""

import json
import math
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set

import pytest
import torch
from functional.checkpoints import load
from functional.commands import PLUGIN, Result, run, start
from functional.recorder import free_port
from functional.settings import FP16, train, with_validation, workers_args
from functional.vae_settings import (
    CRITIC,
    FREE_BITS,
    LM,
    LSTM,
    MINE,
    PLATEAU,
    SKIP,
    TARGET,
    TRANSFORMER,
    VARIANTS,
    WEIGHTED,
    preprocess,
    sentences,
    vae_args,
)

ANNEALED = ["--word-dropout", "0.5", "--kl-anneal", "linear", "--kl-start", "0.1", "--kl-anneal-epochs", "1"]
CYCLIC = ["--kl-anneal", "cyclic", "--kl-anneal-updates", "8", "--kl-cycles", "2"]
LATENT = {"kl", "mi", "au"}
ROWS: Dict[str, Any] = {
    "LSTM-LM": (LM, [], set()),
    "VAE-0.5": (LSTM, ANNEALED, LATENT),
    "VAE-BOW": (LSTM, ["--bow-hidden", "8", "--bow-weight", "1"], LATENT),
    "InfoVAE": (LSTM, ["--mmd-weight", "10"], LATENT),
    "CyclicalVAE": (LSTM, CYCLIC, LATENT),
    "LaggingVAE": (LSTM, ["--lagging", "--lagging-limit", "4"], LATENT),
    "VAE-MINE": (LSTM, MINE, {*LATENT, "bound"}),
    "free bits": (LSTM, ["--free-bits", "0.5"], LATENT),
    "critic on words": (LSTM, [*MINE, "--critic-features", "words"], {*LATENT, "bound"}),
    "Transformer": (TRANSFORMER, [*MINE, "--lr", "0.1"], {*LATENT, "bound"}),
    "weighted": (LSTM, [*SKIP, *FREE_BITS, *WEIGHTED, *TARGET, *VARIANTS], {*LATENT, "bound", "iw_nll"}),
    "weighted Transformer": (
        TRANSFORMER,
        [*SKIP, *WEIGHTED, *MINE, "--share-word-vectors", "--encoder-word-dropout", "0.2", "--lr", "0.1"],
        {*LATENT, "bound", "iw_nll"},
    ),
}
WEIGHTS = {
    "VAE-0.5": [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.0],
    "CyclicalVAE": [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0],
    "VAE-MINE": [1.0] * 8,
}


@pytest.mark.parametrize("row", ROWS)
def test_rows(row: str, vae_data: Path, tmp_path: Path) -> None:
    """Finite, with the keys that the row has; the KL weight as announced (an epoch is six updates)."""
    network, extra, keys = ROWS[row]
    result = train(tmp_path, vae_args(vae_data, tmp_path, 8, *extra, network=network))
    updates, valid = result.logs("train_inner"), result.logs("valid")
    assert len(updates) == 8 and len(valid) == 2
    values = [float(value) for log in updates for name, value in log.items() if name != "ooms"]
    assert all(math.isfinite(value) for value in values)
    for log in valid:
        assert {f"valid_{key}" for key in keys} <= set(log) and {"valid_loss", "valid_nll", "valid_ppl"} <= set(log)
        assert math.isfinite(float(log["valid_loss"])) and 1 < float(log["valid_ppl"]) < 100
        assert ("valid_bound" in log) == ("bound" in keys) and ("valid_kl" in log)
    names = {"VAE-BOW": "bow", "InfoVAE": "mmd", "VAE-MINE": "bound", "LaggingVAE": "gnorm_encoder"}
    assert row not in names or names[row] in updates[0]
    if row in WEIGHTS:
        assert [float(log["kl_weight"]) for log in updates] == pytest.approx(WEIGHTS[row], abs=1e-6)


def test_epochs_of_annealing_count_updates_not_batches(vae_data: Path, tmp_path: Path) -> None:
    """Six batches, --update-freq 4: two updates an epoch."""
    extra = ["--kl-anneal", "linear", "--kl-anneal-epochs", "2", "--update-freq", "4"]
    result = train(tmp_path, vae_args(vae_data, tmp_path, 5, *extra))
    assert "annealing of the KL weight: 4 updates" in result.text
    assert [float(log["kl_weight"]) for log in result.logs("train_inner")] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_best_checkpoint_is_that_of_the_elbo(vae_data: Path, tmp_path: Path) -> None:
    """At weight 1, while training pays nothing for KL at first."""
    extra = ["--kl-anneal", "linear", "--kl-anneal-updates", "30", "--lr", "2", *MINE]
    result = train(tmp_path, vae_args(vae_data, tmp_path, 30, *extra))
    valid = result.logs("valid")
    losses = [float(log["valid_loss"]) for log in valid]
    for log, loss in zip(valid, losses):
        nll = float(log["valid_reconstruction"]) + float(log["valid_kl"])
        assert loss * math.log(2) == pytest.approx(nll, abs=2e-3) == pytest.approx(float(log["valid_nll"]), abs=2e-3)
    best = load(tmp_path / "checkpoint_best.pt")
    assert best["extra_state"]["best"] == pytest.approx(min(losses), abs=1e-3)
    assert best["optimizer_history"][-1]["num_updates"] == 6 * (1 + losses.index(min(losses)))


# ---------------------------------------------------------------------- lagging


def _record(path: str) -> None:
    """Write every player's weights after each update to *path*."""
    from fairseq.trainer import Trainer

    original, records = Trainer.train_step, []

    def weights(trainer: Any) -> Dict[str, List[torch.Tensor]]:
        players = trainer.get_model().players()
        return {name: [p.detach().clone() for p in values] for name, values in players.items()}

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not records:
            records.append(weights(self))
        out = original(self, *args, **kwargs)
        records.append(weights(self))
        torch.save(records, path)
        return out

    Trainer.train_step = train_step


def moved(path: Path) -> List[Set[str]]:
    """Whose weights are not bit-identical after each update."""
    records = torch.load(path)
    return [
        {name for name in after if not all(torch.equal(a, b) for a, b in zip(before[name], after[name]))}
        for before, after in zip(records, records[1:])
    ]


E, D, ALL = {"encoder"}, {"decoder", "critic"}, {"encoder", "decoder", "critic"}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_lagging_moves_the_encoder_alone(precision: str, vae_data: Path, tmp_path: Path) -> None:
    """Three steps of the encoder, one of decoder and critic, for ever: no validation ends it."""
    extra = [*MINE, "--lagging", "--lagging-limit", "3", "--disable-validation", "--inner-optimizer", "adam"]
    extra += ["--lr", "0.01", *(FP16 if precision == "fp16" else [])]
    train(tmp_path, vae_args(vae_data, tmp_path, 9, *extra), hook=partial(_record, str(tmp_path / "updates.pt")))
    assert moved(tmp_path / "updates.pt") == [E, E, E, D, E, E, E, D, E]


@pytest.mark.parametrize("interval", [1, 2])
def test_lagging_ends_when_information_falls(interval: int, vae_data: Path, tmp_path: Path) -> None:
    """The rule by hand, on what validation logged before each update; only every so many decoder updates."""
    extra = [*MINE, "--lagging", "--lagging-limit", "3", "--lagging-interval", interval, "--lr", "1"]
    args = with_validation(vae_args(vae_data, tmp_path, 36, *extra), 2)
    result = train(tmp_path, args, hook=partial(_record, str(tmp_path / "updates.pt")))
    information = {int(log["valid_num_updates"]): float(log["valid_mi"]) for log in result.logs("valid")}
    expected, steps, previous, aggressive, since = [], 0, -math.inf, True, 0
    for update in range(36):
        if update in information and since >= interval:
            aggressive = aggressive and information[update] >= previous
            previous, since = information[update], 0
        outer = aggressive and steps == 3
        steps, since = (0, since + 1) if outer else (steps + 1, since)
        expected.append(ALL if not aggressive else D if outer else E)
    assert moved(tmp_path / "updates.pt") == expected
    updates = result.logs("train_inner")
    assert [int(log["decoder_updates"]) for log in updates] == list(
        accumulate(int(players != E) for players in expected)
    )
    assert [float(log["lagging"]) for log in updates] == [float(players != ALL) for players in expected]
    assert expected[0] == E and expected[-1] == ALL and expected.index(ALL) > 4


def test_resuming_without_lagging_ends_it(vae_data: Path, tmp_path: Path) -> None:
    extra = [*MINE, "--lagging-limit", "9", "--disable-validation"]
    train(tmp_path, vae_args(vae_data, tmp_path, 3, *extra, "--lagging"))
    args = vae_args(vae_data, tmp_path, 5, *extra)
    result = train(tmp_path, args, hook=partial(_record, str(tmp_path / "updates.pt")))
    assert moved(tmp_path / "updates.pt") == [ALL, ALL]
    updates = result.logs("train_inner")
    assert [(float(log["lagging"]), int(log["decoder_updates"])) for log in updates] == [(0, 1), (0, 2)]


# ---------------------------------------------------------------------- layouts


def run_layout(data: Path, folder: Path, batch: int, freq: int, world: int, *extra: Any) -> Result:
    folder.mkdir()
    port = free_port()
    args = vae_args(data, folder, 6, "--batch-size", batch, "--update-freq", freq, *extra)
    running = [
        start("train", [*args, *(workers_args(world, rank, port) if world > 1 else [])], folder / f"{rank}.log")
        for rank in range(world)
    ]
    results = [one.wait() for one in running]
    assert all(result.code == 0 for result in results), results[-1].text[-4000:]
    return results[0]


def test_three_layouts_give_one_run(tmp_path: Path) -> None:
    """Additive terms: one batch, two halves, two workers; the same noise and the same hidden words."""
    data = preprocess(tmp_path / "data", {"train": sentences(16, 3), "valid": sentences(8, 4)})
    extra = ["--word-dropout", "0.3", "--bow-hidden", "8", "--bow-weight", "0.5", "--kl-weight", "0.3"]
    extra += [*SKIP, *FREE_BITS, "--iw-train", "3", "--iw-after-updates", "2"]
    extra += ["--share-word-vectors", "--encoder-word-dropout", "0.3", "--encoder-bidirectional"]
    layouts = {"whole": (16, 1, 1), "pieces": (8, 2, 1), "workers": (8, 1, 2)}
    logs = {name: run_layout(data, tmp_path / name, *layout, *extra) for name, layout in layouts.items()}
    first = load(tmp_path / "whole" / "checkpoint_last.pt")["model"]
    names = ("loss", "reconstruction", "kl", "bow", "nll", "ppl")
    assert ["iw_nll" in log for log in logs["whole"].logs("train_inner")] == [False] * 2 + [True] * 4
    for other in ("pieces", "workers"):
        weights = load(tmp_path / other / "checkpoint_last.pt")["model"]
        for name, value in first.items():
            torch.testing.assert_close(weights[name], value, atol=2e-5, rtol=1e-4)
        for kind, prefix in (("train_inner", ""), ("valid", "valid_")):
            one, two = logs["whole"].logs(kind), logs[other].logs(kind)
            assert len(one) == len(two) == 6
            for a, b in zip(one, two):
                assert all(
                    float(a[prefix + n]) == pytest.approx(float(b[prefix + n]), abs=5e-3)
                    for n in names
                    if kind == "train_inner" or n != "bow"
                )


@pytest.mark.parametrize("measure", ["bound", "information", "valid-bound", "valid-information"])
def test_alpha_moves_by_what_is_logged(measure: str, tmp_path: Path) -> None:
    """The rule by hand, on the figures of both workers and all micro-batches; an epoch is one update."""
    data = preprocess(tmp_path / "data", {"train": sentences(16, 3), "valid": sentences(8, 4)})
    result = run_layout(data, tmp_path / "run", 4, 2, 2, *TARGET, "--mi-target-of", measure, "--mi-weight-max", "0.9")
    updates, valid = result.logs("train_inner"), result.logs("valid")
    name = {"bound": "bound", "information": "mi"}[measure.replace("valid-", "")]
    by_validation = measure.startswith("valid-")
    assert len(updates) == len(valid) == 6 and ("mi" in updates[0]) == (measure == "information")
    alpha = 0.5
    for number, log in enumerate(updates):
        assert float(log["mi_weight"]) == pytest.approx(alpha, abs=1e-4)
        if by_validation and number == 0:
            continue  # nothing is validated before the first update
        measured = float(valid[number - 1][f"valid_{name}"] if by_validation else log[name])
        alpha = min(max(alpha + 0.1 * (2 - measured), 0.0), 0.9)
    assert len({log["mi_weight"] for log in updates}) > 2


def test_an_autoencoder_s_encoder_beside_a_language_model(vae_data: Path, tmp_path: Path) -> None:
    """Posteriors of the former, likelihood of the latter; resuming needs neither file."""
    known, names = {}, {"lm": (LM, []), "ae": (LSTM, ["--kl-weight", "0", "--encoder-max-pooling"])}
    for name, (network, extra) in names.items():
        (tmp_path / name).mkdir()
        best = ["--best-checkpoint-metric", "reconstruction"]
        result = train(tmp_path / name, vae_args(vae_data, tmp_path / name, 18, *extra, *best, network=network))
        known[name] = result.logs("valid")[-1]
    paths = {name: tmp_path / name / "checkpoint_last.pt" for name in names}
    folder = tmp_path / "vae"
    folder.mkdir()
    extra = ["--language-model", paths["lm"], "--encoder-checkpoint", paths["ae"], "--encoder-max-pooling", *SKIP]
    args = vae_args(vae_data, folder, 6, *extra, "--lr", "1e-9", *FREE_BITS)
    result = train(folder, args)
    assert f"the encoder starts as that of {paths['ae']}" in result.text
    found = result.logs("valid")[-1]
    assert float(found["valid_reconstruction"]) == pytest.approx(float(known["lm"]["valid_nll"]), abs=2e-3)
    assert float(found["valid_kl"]) == pytest.approx(float(known["ae"]["valid_kl"]), rel=1e-3)
    assert float(found["valid_kl"]) > 0.2
    for path in paths.values():
        path.unlink()
    assert "Loaded checkpoint" in train(folder, [*args, "--max-update", 12]).text


def test_a_worker_with_a_batch_of_one_sentence(tmp_path: Path) -> None:
    """It has no negatives in training and none in validation, and must not confuse the sums of the other."""
    data = preprocess(tmp_path / "data", {"train": sentences(9, 3), "valid": sentences(9, 4)})
    result = run_layout(data, tmp_path / "workers", 8, 1, 2, *MINE)
    first, second = (result.logs("train_inner"), result.logs("valid"))
    assert all(float(log["bound"]) > -5 for log in first) and "valid_bound" in second[0]
    alone = run_layout(data, tmp_path / "alone", 8, 2, 1, *MINE)
    for a, b in zip(second, alone.logs("valid")):
        assert float(a["valid_nll"]) == pytest.approx(float(b["valid_nll"]), abs=5e-3)
        assert float(a["valid_mi"]) == pytest.approx(float(b["valid_mi"]), abs=5e-3)
        assert a["valid_au"] == b["valid_au"]
    weights = [load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("workers", "alone")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=2e-5, rtol=1e-4)


# ---------------------------------------------------------------------- precision, YAML, learning rates


def write_yaml(data: Path, folder: Path, **sections: Dict[str, Any]) -> Sequence[Any]:
    config: Dict[str, Dict[str, Any]] = {
        "common": {"user_dir": PLUGIN, "cpu": True, "seed": 3, "log_format": "json", "log_interval": 1},
        "task": {"_name": "text_vae", "data": str(data)},
        "model": {"_name": "text_vae_lstm", "embed_dim": 8, "hidden_size": 8, "latent_dim": 4, "dropout": 0.0,
                  "critic": "concat", "critic_hidden": 8, "max_target_positions": 12},
        "criterion": {"_name": "vae_mine_elbo", "mi_weight": 1.0, "kl_anneal": "linear", "kl_anneal_updates": 4},
        "optimizer": {"_name": "ami_phased", "inner_optimizer": "sgd"},
        "lr_scheduler": {"_name": "fixed"},
        "dataset": {"batch_size": 8, "num_workers": 0, "required_batch_size_multiple": 1},
        "optimization": {"max_update": 8, "lr": [0.5], "clip_norm": 5.0},
        "checkpoint": {"save_dir": str(folder), "no_epoch_checkpoints": True},
    }  # fmt: skip
    for name, values in sections.items():
        config[name].update(values)
    (folder / "vae.yaml").write_text("# @package _group_\n" + json.dumps(config))  # JSON is YAML
    return ["--config-dir", folder, "--config-name", "vae", f"hydra.run.dir={folder / 'hydra'}"]


def test_hydra_is_the_command_line(vae_data: Path, tmp_path: Path) -> None:
    """The same settings from a YAML file train the same weights."""
    for name in ("yaml", "flags"):
        (tmp_path / name).mkdir()
    run("hydra-train", write_yaml(vae_data, tmp_path / "yaml"), tmp_path / "hydra.log")
    extra = [*MINE, "--kl-anneal", "linear", "--kl-anneal-updates", "4"]
    train(tmp_path / "flags", vae_args(vae_data, tmp_path / "flags", 8, *extra))
    one, two = (load(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("yaml", "flags"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("network", ["lstm", "transformer"])
def test_half_precision(network: str, vae_data: Path, tmp_path: Path) -> None:
    """fp16 follows fp32 for eight updates; the weights are half, the masters are not."""
    losses, arch = {}, LSTM if network == "lstm" else TRANSFORMER
    for name, extra in (("fp32", []), ("fp16", FP16)):
        args = vae_args(vae_data, tmp_path / name, 8, *MINE, "--lr", "0.1", *extra, network=arch)
        result = train(tmp_path / name, args)
        losses[name] = [float(log["loss"]) for log in result.logs("train_inner")]
        assert "valid_bound" in result.logs("valid")[-1]
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.02) and losses["fp16"][0] != losses["fp32"][-1]
    masters = load(tmp_path / "fp16" / "checkpoint_last.pt")["last_optimizer_state"]["ami"]["masters"]
    assert all(weight.dtype == torch.float32 for weights in masters.values() for weight in weights)


WEIGHTED_YAML: Dict[str, Dict[str, Any]] = {
    "model": {"latent_skip": True, "encoder_bidirectional": True, "encoder_max_pooling": True,
              "encoder_word_dropout": 0.2, "share_word_vectors": True},
    "criterion": {"iw_train": 3, "iw_after_epochs": 0.5, "mi_target": 2.0, "free_bits": 0.05,
                  "free_bits_per": "sentence"},
}  # fmt: skip


@pytest.mark.parametrize("sections", [{}, WEIGHTED_YAML], ids=["mine", "weighted"])
def test_bfloat16(sections: Dict[str, Dict[str, Any]], vae_data: Path, tmp_path: Path) -> None:
    common = {"bf16": True, "fp16_no_flatten_grads": True}
    result = run("hydra-train", write_yaml(vae_data, tmp_path, common=common, **sections), tmp_path / "hydra.log")
    updates = result.logs("train_inner")
    assert updates and all(math.isfinite(float(log["loss"])) for log in updates)
    if sections:  # half an epoch is three updates
        assert ["iw_nll" in log for log in updates] == [False] * 3 + [True] * (len(updates) - 3)
        assert float(updates[-1]["mi_weight"]) > 1.0
    masters = load(tmp_path / "checkpoint_last.pt")["last_optimizer_state"]["ami"]["masters"]
    assert all(weight.dtype == torch.float32 for weights in masters.values() for weight in weights)


def rates(path: Path) -> Dict[str, float]:
    state = load(path)["last_optimizer_state"]
    return {name: part["param_groups"][0]["lr"] for name, part in state.items() if "param_groups" in part}


def test_force_anneal(vae_data: Path, tmp_path: Path) -> None:
    """--lr 0.5, halved every epoch from the second on, and with it the rate that the critic has of its own."""
    extra = ["--force-anneal", "2", "--lr-shrink", "0.5", *MINE, "--critic-lr", "0.003", "--critic-optimizer", "adam"]
    result = train(tmp_path, vae_args(vae_data, tmp_path, 18, *extra))
    assert [float(log["lr"]) for log in result.logs("train_inner")] == [0.5] * 6 + [0.25] * 6 + [0.125] * 6
    assert rates(tmp_path / "checkpoint_last.pt") == {"encoder": 0.125, "decoder": 0.125, "critic": 0.00075}


def test_plateau(vae_data: Path, tmp_path: Path) -> None:
    """A rate that does not learn: the threshold is never passed, and every validation after the first halves it."""
    result = train(tmp_path, vae_args(vae_data, tmp_path, 24, *CRITIC, *PLATEAU, "--lr", "1e-4"))
    found = [float(log["lr"]) for log in result.logs("train_inner")]
    assert found == [1e-4] * 12 + [5e-5] * 6 + [2.5e-5] * 6


def test_a_decoder_starts_as_a_language_model(vae_data: Path, tmp_path: Path) -> None:
    """Its reconstruction is the language model's likelihood; resuming needs the language model no more."""
    lm, folder = tmp_path / "lm", tmp_path / "vae"
    for path in (lm, folder):
        path.mkdir()
    known = train(lm, vae_args(vae_data, lm, 12, network=LM)).logs("valid")[-1]["valid_nll"]
    checkpoint = lm / "checkpoint_last.pt"
    args = vae_args(vae_data, folder, 6, "--language-model", checkpoint, "--lr", "1e-9")
    result = train(folder, args)
    assert f"the decoder starts as the language model {checkpoint}" in result.text
    assert float(result.logs("valid")[-1]["valid_reconstruction"]) == pytest.approx(float(known), abs=2e-3)
    checkpoint.unlink()
    assert "Loaded checkpoint" in train(folder, [*args, "--max-update", 12]).text
