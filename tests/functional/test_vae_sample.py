"""``fairseq-ami vae-sample`` and ``plot latent`` on tiny trained checkpoints, against the model called directly."""

import io
import json

import pytest
import torch
from fairseq import checkpoint_utils
from functional.commands import run
from functional.corpus import pairs
from functional.settings import COMMON
from sklearn.metrics.pairwise import cosine_similarity

from fairseq_ami import cli
from fairseq_ami.tools.text_vae.generated_text import sentences_from_prior

SIZES = ["--embed-dim", 12, "--hidden-size", 12, "--max-target-positions", 12, "--dropout", 0.3]


@pytest.fixture(scope="module")
def data(home):
    """96 sentences for training, 12 for validation; 4 for test, the second of its lines empty."""
    folder = home / "sampled-sentences"
    folder.mkdir()
    text = {"train": 96, "valid": 12, "test": 4}
    for seed, (name, count) in enumerate(text.items()):
        lines = [source for source, _ in pairs(count, seed)]
        lines[1:1] = [""] if name == "test" else []
        (folder / name).write_text("".join(line + "\n" for line in lines))
    options = [f"--{name}pref={folder / name}" for name in text]
    run("preprocess", ["--only-source", *options, "--destdir", folder / "bin"], folder / "preprocess.log")
    return folder / "bin"


def train(folder, data, *options):
    argv = [
        data, *COMMON, "--task", "text_vae", "--criterion", "vae_mine_elbo", "--optimizer", "ami_phased",
        "--lr", "0.02", "--batch-size", "32", "--max-update", "45", "--required-batch-size-multiple", "1",
        "--disable-validation", "--save-dir", folder, *SIZES, *options,
    ]  # fmt: skip
    run("train", argv, folder / "train.log")
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def vae(home, data):
    return train(home / "sampled-vae", data, "--arch", "text_vae_lstm_tiny", "--kl-weight", 0)


@pytest.fixture(scope="module")
def language_model(home, data):
    return train(home / "sampled-lm", data, "--arch", "text_lm_lstm_tiny")


@pytest.fixture
def sample(vae, data, tmp_path):
    """Runs the verb in this process; returns what it wrote as JSON."""

    def call(*argv, checkpoint=vae):
        options = ["--data", data, "--cpu", "--json", tmp_path / "out.json"]
        assert cli.main(["vae-sample", *map(str, [checkpoint, *options, *argv])]) == 0
        return json.loads((tmp_path / "out.json").read_text())

    return call


@pytest.fixture(scope="module")
def model(vae, data):
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(vae)], arg_overrides={"data": str(data)})
    return models[0].eval()


def mean_of(model, text):
    tokens = [*(model.dictionary.index(word) for word in text.split()), model.dictionary.eos()]
    with torch.no_grad():
        return model.posterior(torch.tensor([tokens]))[0].mean[0]


@torch.no_grad()
def greedy(model, z):
    """Sentence of one z by reading the whole prefix for every word."""
    dictionary, words = model.dictionary, []
    while len(words) < 11:
        tokens = torch.tensor([[dictionary.eos(), *words]])
        logits = model.decoder(tokens, encoder_out=model.condition(z.unsqueeze(0)))[0][0, -1]
        logits[[dictionary.bos(), dictionary.pad()]] = -1e9
        if int(logits.argmax()) == dictionary.eos():
            break
        words.append(int(logits.argmax()))
    return dictionary.string(words)


def test_sentences_from_the_prior(sample, model, tmp_path, capsys):
    """Those of vae-eval; in a file one a line; fewer of them are the first ones."""
    found = sample("--prior", 20, "--decoding", "sample", "--seed", 4, "--output", tmp_path / "text")["prior"]
    assert capsys.readouterr().out == "" and (tmp_path / "text").read_text() == "".join(f"{line}\n" for line in found)
    assert found == list(sentences_from_prior(model, "sampled", 20, 11, 4, lambda items, what: items))
    assert sample("--prior", 7, "--decoding", "sample", "--seed", 4, "--batch-size", 3)["prior"] == found[:7]
    assert capsys.readouterr().out == "".join(f"{line}\n" for line in found[:7])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "text"]


def test_reconstructions(sample, model, tmp_path, capsys, monkeypatch):
    """Of a file, of the same lines on stdin and of a split; an unknown word is named."""
    lines = ["s1 s0 s2", "s3 never-seen s0"]
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in lines))
    found = sample("--reconstruct", tmp_path / "in", "--samples", 2)["reconstructions"]
    shown = capsys.readouterr()
    assert "1 words are not in the dictionary and read as <unk>: never-seen" in shown.err
    assert [entry["input"] for entry in found] == lines
    assert [entry["mean"] for entry in found] == [greedy(model, mean_of(model, line)) for line in lines]
    assert all(len(entry["samples"]) == 2 for entry in found)
    assert f"input     {lines[0]}\nmean      {found[0]['mean']}\nsample 1  {found[0]['samples'][0]}" in shown.out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode())))
    assert sample("--reconstruct", "-", "--samples", 2)["reconstructions"] == found
    split = sample("--reconstruct", "test:1,3-5", "--markdown")["reconstructions"]
    assert [entry["input"] for entry in split] == [source for source, _ in pairs(4, 2)]
    assert capsys.readouterr().out.count(f"| mean | {split[0]['mean']} |") >= 1


def test_interpolation_ends_at_the_reconstructions(sample, model, capsys):
    first, last = "s0 s0 s1", "s5 s3"
    found = sample("--interpolate", first, last, "--interpolate", last, first, "--steps", 3)["interpolations"]
    middle = greedy(model, (mean_of(model, first) + mean_of(model, last)) / 2)
    expected = [greedy(model, mean_of(model, first)), middle, greedy(model, mean_of(model, last))]
    assert [point["sentence"] for point in found[0]["steps"]] == expected
    assert [point["sentence"] for point in found[1]["steps"]] == expected[::-1]
    assert [point["weight"] for point in found[0]["steps"]] == [0.0, 0.5, 1.0]
    assert f"A     {first}\n0.00  {expected[0]}\n0.50  " in capsys.readouterr().out


def test_neighbours_are_those_of_scikit_learn(sample, model):
    """In the training data, without the sentence itself."""
    training = [source for source, _ in pairs(96, 0)]
    means = torch.stack([mean_of(model, text) for text in training]).double().numpy()
    [entry] = sample("--neighbours", "train:1", "--top", 4)["neighbours"]
    assert entry["query"] == training[0]
    similarity = cosine_similarity(means[:1], means)[0]
    others = [row for row in similarity.argsort()[::-1] if training[row] != training[0]][:4]
    assert [near["cosine"] for near in entry["neighbours"]] == pytest.approx(similarity[others], abs=1e-5)
    for near in entry["neighbours"]:
        assert near["sentence"] == training[near["line"] - 1] != training[0]


def test_other_decodings(sample):
    assert len(sample("--prior", 3, "--decoding", "beam", "--beam", 3, "--no-unk", "--max-len", 4)["prior"]) == 3
    narrow = sample("--prior", 9, "--decoding", "sample", "--topk", 1)["prior"]
    assert narrow == sample("--prior", 9)["prior"]
    assert len(sample("--prior", 9, "--bf16")["prior"]) == 9


def test_language_model(sample, language_model, capsys):
    found = sample("--prior", 5, "--decoding", "sample", checkpoint=language_model)["prior"]
    assert len(set(found)) > 1
    assert len(set(sample("--prior", 3, checkpoint=language_model)["prior"])) == 1
    assert "a language model has one greedy sentence" in capsys.readouterr().err


def test_latent_figure(vae, data, model, tmp_path, capsys):
    (tmp_path / "labels").write_text("a\nb\na\nb\nb\n")
    argv = ["plot", "latent", str(vae), "--data", str(data), "--cpu", "--subset", "test", "--table"]
    assert cli.main([*argv, "--labels", str(tmp_path / "labels"), "--output", str(tmp_path / "x.svg")]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["line", "pc1", "pc2", "label"]
    assert [(row[0], row[3]) for row in rows[1:]] == [("1", "a"), ("3", "a"), ("4", "b"), ("5", "b")]
    means = torch.stack([mean_of(model, source) for source, _ in pairs(4, 2)]).double()
    first = torch.tensor([float(row[1]) for row in rows[1:]]).double()
    assert float(first.var()) == pytest.approx(float(torch.linalg.eigvalsh(means.T.cov())[-1]), rel=1e-2)
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")


BAD = {
    "nothing": ([], "nothing was asked for"),
    "output": (["--reconstruct", "-", "--output", "x"], "--output belongs to --prior"),
    "folder": (["--prior", "1", "--output", "/nowhere/x"], "its folder does not exist"),
    "steps": (["--interpolate", "s0", "s1", "--steps", "1"], "--steps must be at least 2"),
    "useless": (["--prior", "1", "--topk", "3"], "--topk does nothing with --decoding greedy"),
    "topp": (["--prior", "1", "--decoding", "sample", "--topp", "1.5"], "top-p"),
    "long": (["--interpolate", "s0", " ".join(["s1"] * 12)], "12 words and the end symbol are more than the 12"),
    "empty": (["--interpolate", "s0", " "], "the line is empty"),
    "length": (["--prior", "1", "--max-len", "12"], "this model makes 1 to 11"),
    "file": (["--reconstruct", "absent.txt"], "there is no file absent.txt"),
    "line": (["--reconstruct", "test:1-2"], "test has no sentence in line 2"),
    "range": (["--neighbours", "test:3-1"], "3-1 ends before it begins"),
    "split": (["--reconstruct", "other:1"], "there is no other data"),
    "data": (["--prior", "1", "--data", "/nowhere"], "there is no folder /nowhere"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_made(name, vae, data, capsys):
    given, message = BAD[name]
    assert cli.main(["vae-sample", str(vae), "--cpu", "--data", str(data), *given]) == 2
    assert message in capsys.readouterr().err


def test_other_checkpoints_are_refused(language_model, vae, data, tmp_path, capsys):
    state = torch.load(vae, weights_only=False)
    state["cfg"]["task"]["_name"] = "translation"
    torch.save(state, tmp_path / "other.pt")
    for argv, message in (
        ([language_model, "--reconstruct", "test:1"], "is a language model: it has no posterior"),
        ([tmp_path / "other.pt", "--prior", "1"], "is no checkpoint of the task text_vae"),
    ):
        assert cli.main(["vae-sample", *map(str, argv), "--cpu", "--data", str(data)]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["plot", "latent", str(language_model), "--cpu", "--data", str(data), "--table"]) == 2
    assert "it has no posterior to draw" in capsys.readouterr().err
