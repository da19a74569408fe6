"""Bad input: a non-zero exit, a message that says what to do, no traceback of ours, nothing half-written."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import load
from functional.commands import PLUGIN, Result, run, start
from functional.corpus import SOURCE_WORDS, TARGET_WORDS, binarise, pairs, write_dictionary
from functional.recorder import free_port
from functional.settings import COMMON, LSTM_SIZES, TRANSFORMER_SIZES, ami_args, stock_args, train, workers_args

REFUSED_SETTINGS = {
    "flattened fp16": (["--fp16"], "--fp16-no-flatten-grads"),
    "amp": (["--amp"], "use --fp16 --fp16-no-flatten-grads"),
    "memory-efficient fp16": (["--memory-efficient-fp16"], "use --fp16 --fp16-no-flatten-grads"),
    "bf16 on the command line": (["--bf16"], "common.bf16=true"),
    "zero sharding": (["--zero-sharding", "os"], "leave it at none"),
    "bmuf": (["--use-bmuf"], "--use-bmuf"),
    "stock learning rate": (["--lr", "0.01"], "pass --forward-lr, --backward-lr and --noise-lr"),
    "stock scheduler": (["--lr-scheduler", "inverse_sqrt", "--warmup-updates", "2"], "pass --inner-lr-scheduler"),
    "mean over sentences": (["--sentence-avg"], "leave it out"),
    "an endless curriculum": (["--curriculum", "1"], "pass --update-epoch-batch-itr True as well"),
    "a checkpoint that is not there": (["--restore-file", "/nonexistent.pt"], "there is no file /nonexistent.pt"),
    "merged dictionaries": (["--merge-src-tgt-embed"], "pass --share-all-embeddings"),
    "no optimizer state": (["--no-save-optimizer-state"], "leave it out"),
    "empty phase": (["--phase-cycle", "noise=0,forward=2"], "at least one update"),
    "negative phase": (["--phase-cycle", "forward=-2"], "at least one update"),
    "unknown player": (["--phase-cycle", "critic=2,forward=2"], "the players are noise, forward, backward"),
    "repeated player": (["--phase-cycle", "forward=2,forward=2"], "twice"),
    "garbled cycle": (["--phase-cycle", "forward:2"], "write it like noise=4,forward=8,backward=8"),
    "absent players only": (["--phase-cycle", "noise=2", "--no-latent-noise"], "no phase of a player that takes part"),
    "negative stage": (["--noise-updates", "-1"], "--noise-updates must not be negative"),
    "one sample, leave one out": (["--num-samples", "1"], "--baseline running-mean"),
    "no sample": (["--num-samples", "0"], "at least 1"),
    "temperature": (["--sample-temperature", "0"], "must be positive"),
    "teacher-forced alike": (
        ["--sampler", "teacher-forced", "--objective", "mmi"],
        "would leave no reward at all: pass --baseline running-mean",
    ),
    "box of mmi": (
        ["--objective", "mmi", "--weight-clip", "0.1"],
        "only the backward network of --objective ami is clipped",
    ),
    "teacher-forced top-k": (["--sampler", "teacher-forced", "--sample-topk", "3"], "belong to --sampler ancestral"),
    "stock optimizer": (["--optimizer", "adam"], "--optimizer ami_phased"),
    "stock criterion": (["--criterion", "cross_entropy"], "--criterion ami_minimax"),
    "stock architecture": (["--arch", "transformer"], "--arch ami_transformer"),
    "inner optimizer": (["--inner-optimizer", "nothing"], "choose one of"),
    "inner optimizer's settings": (["--inner-optimizer-args", "{lr: 1}"], "not JSON"),
    "inner optimizer's unknown setting": (["--inner-optimizer-args", '{"speed": 1}'], "has no setting"),
    "inner scheduler": (["--inner-lr-scheduler", "reduce_lr_on_plateau"], "choose one of"),
    "inner scheduler without its end": (["--inner-lr-scheduler", "polynomial_decay"], "needs total_num_update"),
    "inner scheduler over epochs": (["--inner-lr-scheduler-args", '{"force_anneal": 2}'], "acts between epochs"),
    "player of a text VAE": (["--critic-lr", "0.1"], "--critic-lr is for the energy function of a text VAE"),
    "player that is not there": (["--noise-lr", "0.1", "--no-latent-noise"], "--noise-lr is for the noise network"),
    "player that does not play": (["--noise-lr", "0.1", "--objective", "mmi"], "(players: backward, forward)"),
    "player that stands still": (["--backward-lr", "0.1", "--objective", "mmi-fixed"], "(players: forward)"),
    "sizes": (["--encoder-embed-dim", "15"], "cannot be built"),
    "product quantisation noise": (["--quant-noise-pq", "0.1"], "Leave --quant-noise-pq out"),
    "scalar quantisation noise": (["--quant-noise-scalar", "0.1"], "Leave --quant-noise-scalar out"),
    "adaptive softmax": (["--adaptive-softmax-cutoff", "5"], "adaptive softmax is not supported"),
}


def refused(folder: Path, args: List[Any], message: str, ours: bool = True) -> Result:
    """The run ends with *message* and leaves no checkpoint, whole or half (fairseq itself may write ``crash.pt``)."""
    before = sorted(folder.rglob("checkpoint*"))
    result = train(folder, args, check=False)
    assert result.code != 0
    assert message in result.text, result.text[-3000:]
    assert not ours or "Traceback" not in result.text, result.text[-3000:]
    assert sorted(folder.rglob("checkpoint*")) == before
    assert not list(folder.rglob("*.tmp*"))
    return result


@pytest.mark.parametrize("case", REFUSED_SETTINGS)
def test_settings(case: str, data: Path, tmp_path: Path) -> None:
    extra, message = REFUSED_SETTINGS[case]
    refused(tmp_path, ami_args(data, tmp_path, 2, *extra), message)


@pytest.mark.parametrize(
    "network, message",
    [("transformer", "use it with the ami_* architectures"), ("ami_transformer", "use an ami_* task")],
)
def test_ami_phased_under_a_stock_task(network: str, message: str, data: Path, tmp_path: Path) -> None:
    args = [
        data, *COMMON, "--task", "translation", "--arch", network, *TRANSFORMER_SIZES, "--criterion", "cross_entropy",
        "--optimizer", "ami_phased", "--batch-size", "8", "--max-update", "2", "--save-dir", tmp_path,
    ]  # fmt: skip
    refused(tmp_path, args, message)


def test_unsupported_backend_with_two_workers(data: Path, tmp_path: Path) -> None:
    workers = workers_args(2, 0, free_port())
    workers[workers.index("legacy_ddp")] = "pytorch_ddp"
    # fairseq's second worker is not needed: the settings are looked at before the workers meet
    hook = partial(_no_rendezvous)
    result = run("train", [*ami_args(data, tmp_path, 2), *workers], tmp_path / "train.log", check=False, hook=hook)
    assert result.code != 0 and "--ddp-backend legacy_ddp" in result.text and "Traceback" not in result.text


def _no_rendezvous() -> None:
    from fairseq.distributed import utils

    utils.distributed_init = lambda cfg: 0
    torch.distributed.all_reduce = lambda *args, **kwargs: None


# ---------------------------------------------------------------------- pretrained checkpoints


def ami_with(data: Path, folder: Path, *extra: Any, **checkpoints: Path) -> List[Any]:
    return ami_args(data, folder, 2, *extra, *(f"--{name}-checkpoint={path}" for name, path in checkpoints.items()))


def test_missing_checkpoint(data: Path, tmp_path: Path) -> None:
    refused(tmp_path, ami_with(data, tmp_path, forward=tmp_path / "nowhere.pt"), "there is no file")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04garbage", None])
def test_damaged_checkpoint(content: Any, data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    half = stock["backward"].read_bytes()[:5000] if content is None else content
    (tmp_path / "half.pt").write_bytes(half)
    result = refused(tmp_path, ami_with(data, tmp_path, backward=tmp_path / "half.pt"), "--backward-checkpoint")
    assert "damaged" in result.text


def test_malicious_checkpoint(data: Path, malicious: Path) -> None:
    folder = malicious.parent
    refused(folder, ami_with(data, folder, forward=malicious), "was refused")
    assert not (folder / "pwned").exists()
    shutil.move(malicious, folder / "checkpoint_last.pt")
    refused(folder, ami_with(data, folder), "was refused")
    assert not (folder / "pwned").exists()


def test_checkpoint_of_another_architecture(data: Path, tmp_path: Path) -> None:
    lstm = stock_args(data, tmp_path / "lstm", 1, "--arch", "lstm", *LSTM_SIZES)
    train(tmp_path / "lstm", lstm)
    args = ami_with(data, tmp_path, forward=tmp_path / "lstm" / "checkpoint_last.pt")
    refused(tmp_path, args, "is of the architecture 'lstm'")


def test_checkpoint_of_other_sizes(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    args = ami_with(data, tmp_path, "--encoder-layers", "2", **stock)
    refused(tmp_path, args, "Leave --encoder-layers out")


def test_checkpoint_of_a_pair(data: Path, trained: Path, tmp_path: Path) -> None:
    refused(tmp_path, ami_with(data, tmp_path, forward=trained), "is of the architecture 'ami_transformer_tiny'")


def test_finetuning_from_a_pair_of_other_sizes(data: Path, trained: Path, tmp_path: Path) -> None:
    """Its sizes came from checkpoints: the message says what takes them over, and that works."""
    args = ami_args(data, tmp_path, 2, network=["--arch", "ami_transformer_tiny"])
    refused(tmp_path, [*args, "--finetune-from-model", trained], f"--restore-file {trained} --reset-optimizer")
    advised = ["--restore-file", trained, "--reset-optimizer", "--reset-dataloader", "--reset-meters"]
    train(tmp_path / "advised", [*args, *advised, "--save-dir", tmp_path / "advised", "--forward-lr", "0"])
    same = ami_args(data, tmp_path / "same", 2, "--finetune-from-model", trained, "--noise-lr", "0")
    train(tmp_path / "same", same)
    weight = "forward_model.encoder.embed_tokens.weight"
    for folder in ("advised", "same"):
        after = load(tmp_path / folder / "checkpoint_last.pt")["model"]
        assert torch.equal(after[weight], load(trained)["model"][weight])


def test_other_dictionary(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    more = write_dictionary(tmp_path / "more.txt", [*SOURCE_WORDS, "extra"])
    target = write_dictionary(tmp_path / "target.txt", TARGET_WORDS)
    other = binarise(tmp_path / "other", pairs(48, 1), more, target)
    refused(tmp_path, ami_with(other, tmp_path, **stock), "Binarise the data with the dictionary")


def test_dictionary_of_other_symbols(stock: Dict[str, Path], tmp_path: Path) -> None:
    """As many symbols, in another order: only the likelihood tells."""
    source = write_dictionary(tmp_path / "source.txt", SOURCE_WORDS)
    target = write_dictionary(tmp_path / "target.txt", TARGET_WORDS[::-1])
    other = binarise(tmp_path / "other", pairs(48, 1), source, target)
    refused(tmp_path, ami_with(other, tmp_path, **stock), "worse than chance")


def test_exchanged_checkpoints(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    args = ami_with(data, tmp_path, forward=stock["backward"], backward=stock["forward"])
    refused(tmp_path, args, "Are --forward-checkpoint and --backward-checkpoint exchanged?")


def test_exchanged_checkpoints_that_name_no_languages(tmp_path: Path) -> None:
    """A joint dictionary and inferred languages: only the likelihood tells."""
    joint = write_dictionary(tmp_path / "joint.txt", [*SOURCE_WORDS, *TARGET_WORDS])
    data = binarise(tmp_path / "joint", pairs(96, 1), joint, joint)
    train(tmp_path / "net", stock_args(data, tmp_path / "net", 60, "--arch", "transformer", *TRANSFORMER_SIZES))
    path = tmp_path / "net" / "checkpoint_last.pt"
    assert load(path)["cfg"]["task"]["source_lang"] is None
    train(tmp_path / "right", ami_with(data, tmp_path / "right", forward=path))
    refused(tmp_path, ami_with(data, tmp_path, backward=path), "it was trained in the other direction")


# ---------------------------------------------------------------------- data


def test_empty_lines_and_long_sentences(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    lines = pairs(40, 3)
    lines[5:8] = [("", ""), ("s1 s2", ""), ("", "t1")]
    lines.append((" ".join(SOURCE_WORDS * 3), " ".join(TARGET_WORDS * 3)))
    data = binarise(tmp_path / "data", lines, dictionaries["en"], dictionaries["de"])
    args = ami_args(data, tmp_path, 8, "--max-source-positions", "20", "--max-target-positions", "20")
    result = train(tmp_path, [*args, "--required-batch-size-multiple", "1"])
    assert "have invalid sizes and will be skipped" in result.text
    assert not any("nan" in str(line) for line in result.logs("train_inner"))


def test_long_validation_sentence(dictionaries: Dict[str, Path], tmp_path: Path) -> None:
    """fairseq's own rule: it stops and names the flag that skips them."""
    data = binarise(tmp_path / "data", pairs(40, 3, (2, 4)), dictionaries["en"], dictionaries["de"])
    limits = ["--max-source-positions", "5", "--max-target-positions", "5", "--required-batch-size-multiple", "1"]
    args = [arg for arg in ami_args(data, tmp_path, 2, *limits) if arg != "--disable-validation"]
    refused(tmp_path, args, "--skip-invalid-size-inputs-valid-test", ours=False)
    train(tmp_path, [*args, "--skip-invalid-size-inputs-valid-test"])


def _certain_end() -> None:
    """Give every network an output that makes the end of the sentence certain at the first step."""
    from fairseq.models.transformer import TransformerDecoderBase

    plain = TransformerDecoderBase.output_layer

    def output_layer(self: Any, features: Any) -> Any:
        logits = plain(self, features)
        return logits + torch.nn.functional.one_hot(torch.tensor(2), logits.size(-1)).to(logits) * 50.0

    TransformerDecoderBase.output_layer = output_layer


@pytest.mark.parametrize("extra", [[], ["--fake-loss", "unlikelihood"], ["--sampler", "teacher-forced"]])
def test_samples_that_are_empty(extra: List[str], data: Path, tmp_path: Path) -> None:
    result = train(tmp_path, ami_args(data, tmp_path, 6, *extra), hook=_certain_end)
    lengths = [float(x["length_ratio"]) for x in result.logs("train_inner") if x.get("length_ratio") is not None]
    assert lengths and max(lengths) < 0.35  # the end symbol alone
    assert "nan" not in str(result.logs("train_inner")).lower()
    assert all(bool(torch.isfinite(value).all()) for value in load(tmp_path / "checkpoint_last.pt")["model"].values())


def _break_at(update: int) -> None:
    """Make the weights something other than numbers before *update*."""
    from fairseq.trainer import Trainer

    original = Trainer.train_step

    def train_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.get_num_updates() == update:
            for parameter in self.model.parameters():
                parameter.data.fill_(float("nan"))
        return original(self, *args, **kwargs)

    Trainer.train_step = train_step


@pytest.mark.parametrize("world", [1, 2])
def test_not_a_number(world: int, data: Path, tmp_path: Path) -> None:
    """Training stops; what was saved before is whole, and the run goes on from there."""
    args = ami_args(data, tmp_path, 7, "--save-interval-updates", "1")
    workers = [[]] if world == 1 else [workers_args(2, rank, port) for port in [free_port()] for rank in range(2)]
    running = [
        start("train", [*args, *options], tmp_path / f"{rank}.log", hook=partial(_break_at, 5))
        for rank, options in enumerate(workers)
    ]
    results = [worker.wait() for worker in running]
    assert all(result.code != 0 for result in results)
    for result in results:
        assert "training stops" in result.text and "Lower --backward-lr" in result.text
        assert "Traceback" not in result.text
    weights = load(tmp_path / "checkpoint_last.pt")["model"].values()
    assert all(bool(torch.isfinite(value).all()) for value in weights)
    assert not (tmp_path / "checkpoint_1_6.pt").exists() and not list(tmp_path.glob("*.tmp*"))
    if world == 1:
        train(tmp_path, args)
        assert load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 7


def test_learning_rate_that_explodes(data: Path, tmp_path: Path) -> None:
    args = ami_args(data, tmp_path, 8, "--save-interval-updates", "1", "--phase-cycle", "forward=4,backward=4")
    result = train(tmp_path, [*args, "--forward-lr", "1e30", "--forward-clip-norm", "0"], check=False)
    assert result.code != 0 and "Lower --forward-lr" in result.text and "Traceback" not in result.text
    assert all("model" in load(path) for path in tmp_path.glob("checkpoint*.pt"))


def test_generate_with_a_truncated_checkpoint(data: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "half.pt").write_bytes(trained.read_bytes()[:3000])
    argv = [data, "--path", tmp_path / "half.pt", "--user-dir", PLUGIN, "--cpu"]
    assert run("generate", argv, tmp_path / "generate.log", check=False).code != 0
