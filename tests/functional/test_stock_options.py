"""fairseq's own options under tasks that train by turns: what they do, or that they do nothing (docs/options.md)."""

import json
import math
import shutil
from pathlib import Path
from typing import Any, Dict, List, Set

import pytest
import torch
from functional.checkpoints import assert_identical, load
from functional.commands import PLUGIN, run
from functional.corpus import pairs
from functional.recorder import read_records, recorder
from functional.settings import ami_args, train, with_validation
from functional.test_decoding import DIRECTIONS, generate, hypotheses
from functional.vae_settings import CRITIC, preprocess, sentences, vae_args

# each with a value that is not its default; --debug-param-names and the like have none
NO_EFFECT = """
--no-progress-bar --all-gather-list-size 1000 --fast-stat-sync --empty-cache-freq 2 --suppress-crashes --reset-logging
--fp16-init-scale 4 --fp16-scale-window 1 --fp16-scale-tolerance 0.5 --min-loss-scale 0.1 --threshold-loss-scale 1
--on-cpu-convert-precision --fp16-no-flatten-grads --amp-batch-retries 1 --amp-init-scale 2 --amp-scale-window 3
--tokenizer space --bpe subword_nmt --scoring chrf --skip-invalid-size-inputs-valid-test --data-buffer-size 2
--dataset-impl mmap --ignore-unused-valid-subsets --fixed-validation-seed 5 --max-valid-steps 1 --gen-subset valid
--validate-after-updates 1 --num-shards 2 --shard-id 1 --fix-batches-to-gpus --distributed-num-procs 1 --device-id 0
--distributed-backend gloo --distributed-port 1234 --distributed-no-spawn --ddp-comm-hook fp16 --bucket-cap-mb 5
--find-unused-parameters --gradient-as-bucket-view --broadcast-buffers --slowmo-momentum 0.1
--slowmo-base-algorithm sgp --localsgd-frequency 2 --nprocs-per-node 2 --pipeline-chunks 2 --pipeline-checkpoint always
--no-reshard-after-forward --fp32-reduce-scatter --use-sharded-state --not-fsdp-flatten-parameters
--debug-param-names --checkpoint-shard-count 2 --load-checkpoint-on-all-dp-ranks --optimizer-overrides {'eps':1e-7}
--reset-dataloader --reset-lr-scheduler --reset-meters --plasma-path /tmp/nowhere --load-alignments --upsample-primary 2
--truncate-source --max-tokens-valid 50 --batch-size-valid 4 --min-params-to-wrap 9 --export --no-decoder-final-norm
--base-sublayers 2 --quant-noise-pq-block-size 4
""".split()


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    train(folder, ami_args(data, folder, 7))
    return folder / "checkpoint_last.pt"


def test_options_without_effect(base: Path, data: Path, tmp_path: Path) -> None:
    """All of them at once give the same run, bit for bit."""
    train(tmp_path, ami_args(data, tmp_path, 7, *NO_EFFECT))
    one, two = load(base), load(tmp_path / "checkpoint_last.pt")
    assert_identical(one["model"], two["model"])
    assert_identical(one["last_optimizer_state"], two["last_optimizer_state"])


NEW_BATCHES = ["--update-epoch-batch-itr", "True"]
ORDER = {
    "--curriculum": ["1", *NEW_BATCHES],
    "--grouped-shuffling": [],
    "--update-epoch-batch-itr": ["True"],
    "--skip-remainder-batch": [],
}


@pytest.mark.parametrize("option", ORDER)
def test_order_of_the_batches(option: str, data: Path, tmp_path: Path) -> None:
    """The number of updates in an epoch, and a resume in the second that is exact."""

    def run_to(name: str, updates: int) -> None:
        args = ami_args(data, tmp_path / name, updates, option, *ORDER[option], "--max-epoch", "2")
        train(tmp_path / name, args)

    run_to("straight", 0)
    run_to("broken", 15)
    run_to("broken", 0)
    one, two = (load(tmp_path / name / "checkpoint_last.pt") for name in ("straight", "broken"))
    assert one["optimizer_history"][-1]["num_updates"] == (22 if "skip" in option else 24)  # 12 batches an epoch
    assert_identical(one["model"], two["model"])


def _print_sentences() -> None:
    from fairseq.trainer import Trainer

    plain = Trainer.train_step

    def train_step(self: Any, samples: Any, *args: Any, **kwargs: Any) -> Any:
        print("IDS", [sample["id"].tolist() for sample in samples])
        return plain(self, samples, *args, **kwargs)

    Trainer.train_step = train_step


def test_a_curriculum_ends(data: Path, tmp_path: Path) -> None:
    """By length in the first epoch, in random order in the second."""
    args = ami_args(data, tmp_path, 24, "--curriculum", "1", *NEW_BATCHES, "--no-save")
    seen = [
        json.loads(line[4:])
        for line in train(tmp_path, args, hook=_print_sentences).text.splitlines()
        if line[:4] == "IDS "
    ]
    first, second = seen[:12], seen[12:]
    sizes = [len(source.split()) for source, _ in pairs(96, 1)]
    lengths = [max(sizes[index] for index in batch[0]) for batch in first]
    assert lengths == sorted(lengths) and first != second
    assert sorted(first) == sorted(second)


def names(folder: Path) -> Set[str]:
    return {path.name for path in folder.glob("*.pt")}


KEPT = {
    "updates": (
        ["--save-interval-updates", "2", "--keep-interval-updates", "1", "--keep-interval-updates-pattern", "6"],
        {"checkpoint_1_6.pt", "checkpoint_1_10.pt", "checkpoint_last.pt"},
    ),
    "epochs": (["--keep-last-epochs", "1", "--save-interval", "1"], {"checkpoint2.pt", "checkpoint_last.pt"}),
    "no last": (["--no-last-checkpoints"], {"checkpoint1.pt", "checkpoint2.pt"}),
    "suffix": (["--checkpoint-suffix", "_x", "--no-epoch-checkpoints"], {"checkpoint_last_x.pt"}),
    "none": (["--no-save"], set()),
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_which_checkpoints_there_are(case: str, data: Path, tmp_path: Path) -> None:
    """12 updates an epoch."""
    options, expected = KEPT[case]
    updates = 11 if case == "updates" else 24
    args = [arg for arg in ami_args(data, tmp_path, updates, *options) if arg != "--no-epoch-checkpoints"]
    train(tmp_path, [*args, "--no-epoch-checkpoints"] if case == "suffix" else args)
    assert names(tmp_path) == expected


STOPS = {"--max-epoch": ("1", 12), "--stop-time-hours": ("1e-9", 1), "--max-update": ("3", 3)}


@pytest.mark.parametrize("option", STOPS)
def test_when_training_stops(option: str, data: Path, tmp_path: Path) -> None:
    value, updates = STOPS[option]
    train(tmp_path, ami_args(data, tmp_path, 100, option, value))
    assert load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == updates


def test_validation_of_a_part(data: Path, tmp_path: Path) -> None:
    """Of 12 sentences two batches of three, from update 4 on; by --valid-subset two sets."""
    extra = ["--valid-subset", "valid,test", "--batch-size-valid", "3", "--max-valid-steps", "2"]
    extra += ["--required-batch-size-multiple", "1", "--validate-after-updates", "4", "--fixed-validation-seed", "1"]
    args = with_validation(ami_args(data, tmp_path, 6, *extra, "--no-save"), 2)
    result = train(tmp_path, args)
    for name in ("valid", "test"):
        logs = result.logs(name)
        assert [int(log[f"{name}_num_updates"]) for log in logs] == [4, 6]


@pytest.mark.parametrize("precision", [[], ["--ema-fp32"]])
def test_moving_average(precision: List[str], data: Path, tmp_path: Path) -> None:
    """--store-ema: a plain moving average over all updates, of the players that wait as well."""
    extra = ["--store-ema", "--ema-decay", "0.7", "--ema-start-update", "3", *precision]
    hook = recorder(tmp_path / "updates.pt")
    train(tmp_path, ami_args(data, tmp_path, 7, *extra), hook=hook)
    weights = [record["weights"] for record in read_records(tmp_path / "updates.pt")]
    stored = load(tmp_path / "checkpoint_last.pt")["extra_state"]["ema"]
    for name in weights[0]:
        mean = weights[2][name]  # after two updates, before which it is a copy
        for after in weights[3:]:
            mean = 0.7 * mean + 0.3 * after[name]
        assert torch.allclose(stored[name], mean, atol=1e-6), name


def test_clip_norm_is_one_limit_for_all_players(data: Path, tmp_path: Path) -> None:
    """Before each player's own: in pretraining the two networks share it."""
    extra = ["--clip-norm", "0.01", "--pretrain-updates", "3"]
    result = train(tmp_path, ami_args(data, tmp_path, 3, *extra))
    for log in result.logs("train_inner"):
        parts = [float(log[f"gnorm_{player}"]) for player in ("forward", "backward")]
        assert (parts[0] ** 2 + parts[1] ** 2) ** 0.5 == pytest.approx(0.01, rel=1e-3)
        assert float(log["gnorm"]) > 0.1


def test_overridden_optimizer(base: Path, data: Path, tmp_path: Path) -> None:
    shutil.copy(base, tmp_path)
    train(tmp_path, ami_args(data, tmp_path, 9, "--optimizer-overrides", "{'betas': (0.5, 0.6)}"))
    state = load(tmp_path / "checkpoint_last.pt")["last_optimizer_state"]
    groups = [state[player]["param_groups"][0] for player in ("forward", "backward", "noise")]
    assert [tuple(group["betas"]) for group in groups] == [(0.5, 0.6)] * 3


OTHER_CYCLE = ["--phase-cycle", "noise=1,forward=1,backward=1"]


def test_a_suffixed_checkpoint_is_resumed_as_any(base: Path, data: Path, tmp_path: Path) -> None:
    shutil.copy(base, tmp_path / "checkpoint_last_x.pt")
    args = ami_args(data, tmp_path, 8, "--checkpoint-suffix", "_x", *OTHER_CYCLE)
    result = train(tmp_path, args, check=False)
    assert result.code != 0 and "resume with the same phases" in result.text and "Traceback" not in result.text


def test_continue_once_is_resumed_as_any(base: Path, data: Path, tmp_path: Path) -> None:
    args = ami_args(data, tmp_path, 8, "--continue-once", base)
    result = train(tmp_path, [*args, *OTHER_CYCLE], check=False)
    assert result.code != 0 and "resume with the same phases" in result.text and "Traceback" not in result.text
    train(tmp_path, args)
    assert load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 8


# ---------------------------------------------------------------------- the text VAE


def test_epochs_of_a_text_vae(vae_data: Path, tmp_path: Path) -> None:
    """Twelve sentences of --train-subset valid in batches of 4: three updates in the first epoch, two in each other."""
    extra = ["--train-subset", "valid", "--batch-size", "4", "--update-freq", "1,2", "--kl-anneal", "linear"]
    result = train(tmp_path, vae_args(vae_data, tmp_path, 7, *extra, "--kl-anneal-epochs", "2"))
    assert "annealing of the KL weight: 5 updates" in result.text
    weights = [float(log["kl_weight"]) for log in result.logs("train_inner")]
    assert weights == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_lagging_needs_its_interval_when_epochs_differ(vae_data: Path, tmp_path: Path) -> None:
    extra = [*CRITIC, "--lagging", "--update-freq", "1,2"]
    result = train(tmp_path, vae_args(vae_data, tmp_path, 4, *extra), check=False)
    assert result.code != 0 and "pass --lagging-interval" in result.text and "Traceback" not in result.text


def test_combined_validation_of_a_text_vae(tmp_path: Path) -> None:
    """Both parts, sentence by sentence, weigh as one set of them does."""
    parts = [sentences(12, 2), sentences(12, 3)]
    texts = {"train": sentences(48, 1), "valid": parts[0], "valid1": parts[1]}
    (tmp_path / "in").mkdir()
    for name in ("valid", "valid1"):
        (tmp_path / "in" / name).write_text("".join(line + "\n" for line in texts.pop(name)))
    both = f"{tmp_path / 'in' / 'valid'},{tmp_path / 'in' / 'valid1'}"
    split = preprocess(tmp_path / "split", texts, f"--validpref={both}")
    joined = preprocess(tmp_path / "joined", {**texts, "valid": [*parts[0], *parts[1]]})
    losses = []
    for folder, extra in ((split, ["--combine-valid-subsets"]), (joined, [])):
        result = train(folder, vae_args(folder, folder, 6, *extra, "--no-save"))
        losses.append(float(result.logs("valid")[-1]["valid_loss"]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


SCHEDULES = {
    "inverse_sqrt --warmup-updates 2": [0.0, 0.05, 0.1, 0.1 * (2 / 3) ** 0.5, 0.1 * (2 / 4) ** 0.5],
    "cosine --lr-period-updates 4 --min-lr 0.02": [0.02 + 0.04 * (1 + math.cos(math.pi * t / 4)) for t in range(4)],
    "polynomial_decay --total-num-update 4 --end-learning-rate 0.01 --power 2": [
        0.01 + 0.09 * (1 - t / 4) ** 2 for t in range(5)
    ],
    "step --lr-deacy-period 2 --lr-decay 0.5": [0.1, 0.1, 0.05, 0.05, 0.025],
    "tri_stage --warmup-steps 2 --hold-steps 1 --decay-steps 2 --init-lr-scale 0.1 --final-lr-scale 0.01": [
        0.01, 0.055, 0.1, 0.1, 0.01,
    ],
    "triangular --max-lr 0.3 --lr-period-updates 4": [0.1, 0.2, 0.3, 0.2],
    "manual --update2lr {'2-3':0.3,'4':0.05}": [0.1, 0.1, 0.3, 0.3, 0.05],
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules_of_a_text_vae(case: str, vae_data: Path, tmp_path: Path) -> None:
    """The rate of each update, by hand."""
    expected = SCHEDULES[case]
    args = vae_args(vae_data, tmp_path, len(expected), "--lr", "0.1", "--lr-scheduler", *case.split(), "--no-save")
    logs = train(tmp_path, args).logs("train_inner")
    assert [float(log["lr_decoder"]) for log in logs] == pytest.approx(expected, abs=2e-6)


def test_rate_at_which_a_text_vae_stops(vae_data: Path, tmp_path: Path) -> None:
    """Half of 0.5 after the six updates of the first epoch."""
    falling = ["--lr-scheduler", "polynomial_decay", "--total-num-update", "12", "--stop-min-lr", "0.3"]
    train(tmp_path, vae_args(vae_data, tmp_path, 100, *falling))
    assert load(tmp_path / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 6


# ---------------------------------------------------------------------- generation

GENERATION = {
    "lengths": "--max-len-a 1 --max-len-b 2 --min-len 3 --lenpen 0.3 --nbest 3",
    "scores": "--unnormalized --unkpen 2 --temperature 2 --no-repeat-ngram-size 1",
    "source length": "--match-source-len --post-process",
    "sampling": "--sampling --sampling-topk 1 --nbest 3",
    "nucleus": "--sampling --sampling-topp 0.001 --nbest 3",
    "diverse siblings": "--diversity-rate 0.5 --nbest 3",
    "prefix": "--prefix-size 2",
    "alignment": "--print-alignment hard",
    "reference": "--score-reference",
    "idle": "--beam-mt 2 --max-len-a-mt 1 --max-len-b-mt 9 --lenpen-mt 2 --no-early-stop --no-beamable-mm "
    "--iter-decode-eos-penalty 1 --iter-decode-max-iter 3 --iter-decode-force-max-iter --iter-decode-with-beam 2 "
    "--decoding-format ensemble --no-seed-provided --eos-token t1 --num-shards 2 --shard-id 1 --sacrebleu",
}


def lines(text: str) -> List[str]:
    """Hypotheses, scores of words and alignments."""
    found = sorted(line for line in text.splitlines() if line[:2] in ("H-", "P-", "A-"))
    assert len(found) >= 24
    return found


@pytest.mark.parametrize("case", GENERATION)
def test_generation_as_the_stock_network(
    case: str, data: Path, stock: Dict[str, Path], trained: Path, tmp_path: Path
) -> None:
    """The pair holds the weights of the stock networks: the same words and scores under the same options."""
    options: List[Any] = [*DIRECTIONS["forward"], *GENERATION[case].split()]
    plain = generate(data, stock["forward"], tmp_path, *options)
    pair = generate(data, trained, tmp_path, *options, "--task", "ami_translation")
    assert lines(pair.text) == lines(plain.text)
    if case == "idle":
        assert hypotheses(pair) == hypotheses(generate(data, trained, tmp_path, *DIRECTIONS["forward"]))


DROPOUT = ["--retain-dropout", "--model-overrides", "{'dropout': 0.5}"]


def test_dropout_at_generation(data: Path, stock: Dict[str, Path], trained: Path, tmp_path: Path) -> None:
    """Two seeds give two results, of the stock network and of the pair, whose networks keep their own dropout."""
    for path, task in ((stock["forward"], "translation"), (trained, "ami_translation")):
        options = [*DIRECTIONS["forward"], "--task", task, *DROPOUT]
        one, two = (lines(generate(data, path, tmp_path, *options, "--seed", seed).text) for seed in (1, 2))
        assert one != two


def test_constraints(data: Path, stock: Dict[str, Path], trained: Path, tmp_path: Path) -> None:
    """A word that has to occur, through fairseq-interactive."""
    (tmp_path / "text").write_text("s1 s2\tt9\ns4\tt3 t7\n")
    found = []
    for path, task in ((stock["forward"], "translation"), (trained, "ami_translation")):
        argv = [data, "--path", path, "--cpu", "--user-dir", PLUGIN, "--task", task, *DIRECTIONS["forward"]]
        argv += ["--constraints", "--input", tmp_path / "text", "--buffer-size", "2", "--beam", "4", "--max-len-b", "9"]
        text = run("interactive", argv, tmp_path / "interactive.log").text
        found.append([line for line in text.splitlines() if line.startswith("H-")])
    assert found[0] == found[1] and len(found[1]) == 2
    assert "t9" in found[1][0].split() and {"t3", "t7"} <= set(found[1][1].split())


def test_references_are_scored_without_noise(data: Path, trained: Path, tmp_path: Path) -> None:
    options = ["--task", "ami_translation", "--latent-noise-draws", "2", "--score-reference"]
    result = generate(data, trained, tmp_path, *options, check=False)
    assert result.code != 0 and "scores without noise" in result.text and "Traceback" not in result.text
