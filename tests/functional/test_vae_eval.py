"""``fairseq-ami vae-eval`` on tiny trained checkpoints, against fairseq's own validation and the files themselves."""

import json
import math
import re

import pytest
import torch
from fairseq import checkpoint_utils
from functional.commands import run
from functional.corpus import pairs
from functional.settings import COMMON

from fairseq_ami import cli
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.text_vae.ngram_lm import KenLM

SIZES = ["--embed-dim", 12, "--hidden-size", 12, "--max-target-positions", 9, "--dropout", 0.3]
VAE = ["--arch", "text_vae_lstm_tiny", *SIZES, "--critic", "concat", "--critic-hidden", 8, "--mi-weight", 1]
QUICK = ["--cpu", "--iw-samples", 5, "--mi-batch", 4]


def lines(count, seed):
    """Sentences of 2 to 6 words."""
    return [source for source, _ in pairs(count, seed)]


@pytest.fixture(scope="module")
def sentences(home):
    """96 sentences for training, 12 for validation, 13 for test; an empty line and an unknown word in the last."""
    folder = home / "sentences"
    folder.mkdir()
    test = [*lines(12, 3), "", "s1 never-seen"]
    for name, text in (("train", lines(96, 1)), ("valid", lines(12, 2)), ("test", test)):
        (folder / name).write_text("".join(line + "\n" for line in text))
    options = [f"--{name}pref={folder / name}" for name in ("train", "valid", "test")]
    run("preprocess", ["--only-source", *options, "--destdir", folder / "bin"], folder / "preprocess.log")
    return folder / "bin"


def train(folder, data, *options):
    argv = [
        data, *COMMON, "--task", "text_vae", "--criterion", "vae_mine_elbo", "--optimizer", "ami_phased",
        "--lr", "0.01", "--batch-size", "16", "--max-update", "12", "--required-batch-size-multiple", "1",
        "--valid-subset", "test", "--save-dir", folder, *options,
    ]  # fmt: skip
    result = run("train", argv, folder / "train.log")
    return folder / "checkpoint_last.pt", result.logs("test")[-1]


@pytest.fixture(scope="module")
def vae(home, sentences):
    """A VAE with a critic, and what fairseq logged for the test set at the end of training."""
    return train(home / "vae", sentences, *VAE)


@pytest.fixture(scope="module")
def language_model(home, sentences):
    return train(home / "lm", sentences, "--arch", "text_lm_lstm_tiny", *SIZES)


def vae_eval(*argv):
    """Runs the verb in this process; returns its exit code."""
    return cli.main(["vae-eval", *map(str, argv)])


def results(path):
    return json.loads(path.read_text())["results"]


def test_both_kinds_side_by_side(vae, language_model, sentences, tmp_path, capsys):
    """A row each; a language model has no latent columns, and its NLL is exactly what fairseq's validation logs."""
    argv = [vae[0], language_model[0], "--data", sentences, *QUICK, "--name", "vae", "lm", "--no-generation"]
    assert vae_eval(*argv, "--json", tmp_path / "out.json") == 0
    table = capsys.readouterr().out
    first, second = results(tmp_path / "out.json")
    tokens = sum(len(line.split()) + 1 for line in lines(12, 3)) + 3
    assert (first["sentences"], first["tokens"], second["tokens"]) == (13, tokens, tokens)
    assert second["nll"] == pytest.approx(float(language_model[1]["test_nll"]), abs=2e-3)
    assert second["ppl"] == pytest.approx(math.exp(second["nll"] * 13 / tokens))
    assert all(second[name] is None for name in ("kl", "iw_nll", "mi", "marginal_kl", "tangent", "active_units"))
    assert first["kl"] == pytest.approx(float(vae[1]["test_kl"]), abs=2e-3)
    assert first["nll"] == pytest.approx(float(vae[1]["test_nll"]), abs=0.3)  # another z
    assert first["mi_batch"] <= math.log(4) and first["mi"] == pytest.approx(first["kl"], abs=0.1)  # hardly any of both
    assert math.isfinite(first["tangent"]) and math.isfinite(first["donsker_varadhan"])
    assert re.search(r"^model +sentences +NLL +KL +PPL +IW-NLL +MI/4 +MI/all", table)
    assert re.search(r"^lm +13 +\d+\.\d\d +- +\d+\.\d\d +- +- +- +- +- +- +-$", table, re.MULTILINE)
    assert "a language model's NLL and PPL are exact" in table and "IW-NLL: 5 samples" in table


def gaps_by_hand(row):
    """What follows from a row's bounds."""
    return row["nll"] - row["svi_nll"], row["svi_nll"] - row["iw_nll"]


def test_gaps(vae, language_model, sentences, tmp_path, capsys):
    """Of test and training text, whatever the batches are; a language model has none; the table says what it is."""
    found = []
    argv = [vae[0], language_model[0], "--data", sentences, *QUICK, "--no-generation", "--name", "vae", "lm"]
    for tokens in (80, 8000):
        svi = ["--svi-steps", 15, "--svi-rate", 0.1, "--svi-sentences", 8, "--max-tokens", tokens]
        assert vae_eval(*argv, *svi, "--json", tmp_path / "out.json") == 0
        found.append(results(tmp_path / "out.json"))
    test, training = found[0][0]["gaps"]
    assert (test["text"], training["text"], test["sentences"], training["sentences"]) == ("test", "train", 8, 8)
    for row in (test, training):
        assert (row["amortisation"], row["approximation"]) == pytest.approx(gaps_by_hand(row))
        assert row["svi_nll"] < row["nll"] and row["amortisation_error"] > 0
    assert found[0][1]["gaps"] == []
    for one, other in zip((test, training), found[1][0]["gaps"]):
        assert {k: v for k, v in one.items() if k != "text"} == pytest.approx(
            {k: v for k, v in other.items() if k != "text"}, abs=1e-3
        )
    table = capsys.readouterr().out
    assert re.search(
        r"^model +text +sentences +NLL +SVI-NLL +IW-NLL +amortisation +approximation$", table, re.MULTILINE
    )
    assert re.search(r"^vae +train +8 +\d+\.\d\d +\d+\.\d\d", table, re.MULTILINE)
    assert "a valid upper bound" in table and "nats more on test than on train (over-fitting)" in table
    once = ["--svi-steps", 1, "--svi-against", "test", "--json", tmp_path / "out.json"]
    assert vae_eval(vae[0], "--data", sentences, *QUICK, "--no-generation", *once) == 0
    assert [row["text"] for row in results(tmp_path / "out.json")[0]["gaps"]] == ["test"]
    assert results(tmp_path / "out.json")[0]["gaps"][0]["sentences"] == 13
    capsys.readouterr()


def test_a_checkpoint_of_an_older_version(vae, sentences, tmp_path):
    """It lacks the settings that came later, and is measured as the whole one is."""
    state = torch.load(vae[0], weights_only=False)
    later = ("latent_skip", "share_word_vectors", "encoder_bidirectional", "encoder_max_pooling", "encoder_dropout",
             "encoder_word_dropout", "encoder_checkpoint")  # fmt: skip
    for name in later:
        del state["cfg"]["model"][name]
    torch.save(state, tmp_path / "old.pt")
    argv = ["--data", sentences, *QUICK, "--no-generation", "--name", "vae", "--json", tmp_path / "out.json"]
    rows = []
    for path in (vae[0], tmp_path / "old.pt"):
        assert vae_eval(path, *argv) == 0
        rows.append({k: v for k, v in results(tmp_path / "out.json")[0].items() if k != "checkpoint"})
    assert rows[0] == rows[1]


def test_importance_weights_one_sentence_at_a_time(vae, sentences, tmp_path):
    """From the model's own posterior and likelihood, with fresh samples; and batches do not matter."""
    found = []
    for name, max_tokens in (("a", 10), ("b", 5000)):
        options = ["--iw-samples", 4000, "--max-tokens", max_tokens * 40, "--no-generation", "--cpu"]
        assert vae_eval(vae[0], "--data", sentences, *options, "--json", tmp_path / name) == 0
        found.append(results(tmp_path / name)[0])
    numbers = [{name: value for name, value in row.items() if isinstance(value, float)} for row in found]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=1e-4)
    overrides = {"data": str(sentences)}
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(vae[0])], arg_overrides=overrides)
    task.load_dataset("test")
    model, total = models[0].eval(), 0.0
    torch.manual_seed(1)
    with torch.no_grad():
        for item in task.dataset("test"):
            posterior, _ = model.posterior(item["target"].unsqueeze(0))
            q = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
            z = q.sample((2000,))[:, 0]
            prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
            weights = model.log_likelihood(item["target"].expand(2000, -1), z) + prior - q.log_prob(z).sum(1)
            total += float(weights.logsumexp(0)) - math.log(2000)
    assert found[0]["iw_nll"] == pytest.approx(-total / 13, abs=0.02)


def test_importance_weights_in_bfloat16(vae, sentences, tmp_path, capsys):
    """Near those in float32 and not the same; nothing else changes."""
    found = []
    for name, more in (("a", []), ("b", ["--iw-bf16"])):
        options = ["--iw-samples", 50, "--no-generation", "--cpu", "--json", tmp_path / name, *more]
        assert vae_eval(vae[0], "--data", sentences, *options) == 0
        found.append(results(tmp_path / name)[0])
    assert "50 samples, decoder in bfloat16" in capsys.readouterr().out
    weighted = [[row.pop(name) for name in ("iw_nll", "iw_ppl")][0] for row in found]
    assert 0 < abs(weighted[0] - weighted[1]) < 0.05 and found[0] == found[1]


# ---------------------------------------------------------------------- generated text


@pytest.fixture
def kenlm():
    try:
        return KenLM.find()
    except AMIError as error:
        pytest.skip(str(error))


def test_generated_text(vae, language_model, sentences, kenlm, tmp_path, capsys):
    """Both decodings of both models; the same again with the same seed, whatever else is measured."""
    argv = ["--data", sentences, *QUICK, "--samples", 60, "--json", tmp_path / "out"]
    assert vae_eval(vae[0], *argv, "--name", "vae") == 0
    alone = results(tmp_path / "out")
    assert vae_eval(vae[0], language_model[0], *argv, "--name", "vae", "lm") == 0
    table, first = capsys.readouterr().out, results(tmp_path / "out")
    assert first[0] == alone[0]
    for row in first:
        assert [entry["decoding"] for entry in row["generated"]] == ["greedy", "sampled"]
        for entry in row["generated"]:
            assert entry["sentences"] == 60 and 1 <= entry["tokens_per_sentence"] <= 9
            assert entry["rppl"]["tokens"] == row["tokens"]  # the unknown word among them
            assert entry["fppl"]["tokens"] == round(60 * entry["tokens_per_sentence"])
    assert first[1]["generated"][0]["distinct"] == 1  # a language model says one thing when greedy
    numbers = r"60 +1 +\d+\.\d +\d+\.\d\d\*? +\d+\.\d\d\* +\d+\.\d% +\d+\.\d\d\*"
    assert re.search(rf"^lm +greedy +{numbers}$", table, re.MULTILINE)
    assert "lm, greedy" in table and "fall-back" in table


def test_without_kenlm(vae, sentences, tmp_path, capsys):
    """The other figures stand, and the table says how to get it."""
    (tmp_path / "empty").mkdir()
    options = [*QUICK, "--kenlm", tmp_path / "empty", "--json", tmp_path / "out"]
    assert vae_eval(vae[0], "--data", sentences, *options) == 0
    message = "no FPPL and RPPL: KenLM's lmplz and query not found in .*empty: `make kenlm`"
    assert re.search(message, capsys.readouterr().out)
    (row,) = results(tmp_path / "out")
    assert row["nll"] > 0 and row["generated"] == [] and "make kenlm" in row["remarks"][0]


# ---------------------------------------------------------------------- bad input


def test_bad_input(vae, language_model, stock, sentences, data, home, tmp_path, capsys):
    """One message each, exit code 2, nothing written."""
    other = home / "other-words"
    other.mkdir()
    (other / "text").write_text("a b c\n")
    options = ["--only-source", "--testpref", other / "text", "--trainpref", other / "text"]
    run("preprocess", [*options, "--destdir", other / "bin"], other / "preprocess.log")
    (other / "empty").write_text("\n\n")
    options = ["--only-source", "--srcdict", sentences / "dict.txt", "--testpref", other / "empty"]
    run("preprocess", [*options, "--destdir", other / "nothing"], other / "preprocess.log")
    (tmp_path / "damaged.pt").write_bytes(vae[0].read_bytes()[:5000])
    out = ["--json", tmp_path / "out.json"]
    good = ["--data", sentences]
    cases = {
        (vae[0], "--data", tmp_path / "none"): "--data: there is no folder",
        (vae[0], "--data", data): "there is no .*dict.txt",
        (vae[0], "--data", other / "bin"): "does not fit .*another dictionary",
        (vae[0], "--data", other / "nothing"): "holds no sentence",
        (vae[0], *good, "--subset", "nothing"): "there is no nothing data",
        (vae[0], *good, "--max-tokens", 4): "sentences are longer than --max-tokens \\(4\\)",
        (vae[0], stock["forward"], *good): "is no checkpoint of the task text_vae",
        (vae[0], tmp_path / "none.pt", *good): "there is no file",
        (vae[0], tmp_path / "damaged.pt", *good): "truncated or damaged",
        (vae[0], language_model[0], *good, "--name", "one"): "1 names for 2 checkpoints",
        (vae[0], *good, "--json", tmp_path / "no" / "out.json"): "cannot write",
        (vae[0], *good, "--max-len", 9): "makes sentences of at most 8 words",
    }
    for argv, message in cases.items():
        assert vae_eval(*QUICK, *out, *argv) == 2, message
        assert re.search(f"^fairseq-ami: error: .*{message}", capsys.readouterr().err, re.MULTILINE), message
    for option in (
        ["--svi-steps", -1],
        ["--svi-rate", 0],
        ["--samples", 0],
        ["--mi-batch", 1],
        ["--iw-samples", -1],
        ["--decoding", "beam"],
    ):
        with pytest.raises(SystemExit) as stop:
            vae_eval(vae[0], *good, *option)
        assert stop.value.code == 2 and option[0] in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.pt"]


def test_a_failure_keeps_the_rows_before_it(vae, sentences, tmp_path, capsys, monkeypatch):
    from fairseq_ami.cli import vae_eval as verb

    measured = []

    def measure(*args):
        if measured:
            raise AMIError("the second one fails")
        measured.append(real(*args))
        return measured[0]

    real = verb.measure
    monkeypatch.setattr(verb, "measure", measure)
    argv = [vae[0], vae[0], "--data", sentences, *QUICK, "--no-generation", "--json", tmp_path / "out"]
    assert vae_eval(*argv) == 2
    shown = capsys.readouterr()
    assert "the second one fails" in shown.err and "NLL" in shown.out
    assert len(results(tmp_path / "out")) == 1
