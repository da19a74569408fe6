"""Text VAEs that are handed on: what is in the export, and that it says what the model says."""

import tarfile
from types import SimpleNamespace

import pytest
import torch
from unit.tiny import dictionary
from unit.tiny_vae import LSTM_SIZES, make_vae

from fairseq_ami import hub
from fairseq_ami.cli import main
from fairseq_ami.errors import AMIError
from fairseq_ami.plugin import register
from fairseq_ami.tools.sharing.bundle import export
from fairseq_ami.tools.sharing.plain import default_sections

WORDS = 6
SETTINGS = {"critic": "bilinear", "critic_features": "words", "bow_hidden": 3, "latent_skip": True}


@pytest.fixture
def vae(tmp_path, monkeypatch):
    """A checkpoint as a training run leaves it, with the parts that only training needs."""
    register()
    monkeypatch.setenv("FAIRSEQ_AMI_CACHE", str(tmp_path / "cache"))
    words = dictionary(WORDS)
    model = make_vae(task=SimpleNamespace(dictionary=words), spread=6.0, **SETTINGS).float().eval()
    (tmp_path / "data").mkdir()
    words.save(str(tmp_path / "data" / "dict.txt"))
    sizes = {**LSTM_SIZES, "latent_dim": 3, "critic_hidden": 7, **SETTINGS}
    cfg = {
        **default_sections({"cfg": {"common": {}}}),
        "model": {"_name": "text_vae_lstm", "arch": "text_vae_lstm", "encoder_checkpoint": "/old/place.pt", **sizes},
        "task": {"_name": "text_vae", "data": str(tmp_path / "data"), "update_freq": "${optimization.update_freq}"},
        "optimization": {"update_freq": [1]},
    }
    path = tmp_path / "vae.pt"
    history = [{"num_updates": 5, "optimizer_name": "", "criterion_name": "", "lr_scheduler_state": {}}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    state = {"cfg": cfg, "args": None, "model": model.state_dict(), "optimizer_history": history, "extra_state": extra}
    torch.save({**state, "last_optimizer_state": None, "task_state": {}}, path)
    return SimpleNamespace(path=str(path), model=model, folder=tmp_path)


@torch.no_grad()
def greedy(model, z):
    """Words of one z, by reading the whole prefix for every word; <unk> is not written."""
    words, found = model.dictionary, []
    while len(found) < LSTM_SIZES["max_target_positions"] - 1:
        tokens = torch.tensor([[words.eos(), *found]])
        logits = model.decoder(tokens, encoder_out=model.condition(z[None]))[0][0, -1]
        logits[[words.bos(), words.pad(), words.unk()]] = float("-inf")
        if int(logits.argmax()) == words.eos():
            break
        found.append(int(logits.argmax()))
    return words.string(found)


@torch.no_grad()
def mean_of(model, text):
    tokens = [*(model.dictionary.index(word) for word in text.split()), model.dictionary.eos()]
    return model.posterior(torch.tensor([tokens]))[0].mean[0]


def test_the_export_says_what_the_model_says(vae):
    """Means, reconstructions and the line between two sentences, by the model called directly."""
    out = export(vae.path, str(vae.folder / "out.tar.gz"))
    loaded = hub.text_vae(out)
    texts = ["w0 w1 w2", "w5 w3"]
    means = [mean_of(vae.model, text) for text in texts]
    assert torch.allclose(loaded.posterior_means(texts), torch.stack(means), atol=1e-6)
    assert loaded.reconstruct(texts) == [greedy(vae.model, mean) for mean in means]
    middle = greedy(vae.model, (means[0] + means[1]) / 2)
    assert loaded.interpolate(*texts, steps=3) == [greedy(vae.model, means[0]), middle, greedy(vae.model, means[1])]
    assert loaded.sample(4)[:2] == loaded.sample(2) and loaded.sample(2, seed=2) != loaded.sample(2)


def test_what_is_in_the_export(vae):
    """No weights and no paths of the training; the card says what it is and ends with the notes."""
    (vae.folder / "notes.md").write_text("- licence: none\n")
    out = export(vae.path, str(vae.folder / "out.tar.gz"), quantization="float16", notes=str(vae.folder / "notes.md"))
    with tarfile.open(out) as archive:
        assert sorted(archive.getnames()) == ["out", "out/dict.txt", "out/model.pt", "out/model_card.md"]
        archive.extractall(vae.folder / "unpacked", filter="data")
    state = torch.load(vae.folder / "unpacked" / "out" / "model.pt", weights_only=True)
    names = set(vae.model.state_dict())
    assert set(state["model"]) == {name for name in names if not name.startswith(("critic", "bow"))} != names
    assert {weight.dtype for weight in state["model"].values()} == {torch.float16}
    assert str(vae.folder) not in str(state["cfg"]) and "/old/place" not in str(state["cfg"])
    card = (vae.folder / "unpacked" / "out" / "model_card.md").read_text()
    assert "stored as float16" in card and "- updates: 5\n" in card and card.endswith("- licence: none\n")


def test_plain_text_goes_through_the_recorded_tokenizer(vae, capsys):
    """A full stop is a word of its own for Moses, and stands at the word again in what is written."""
    words = dictionary(0)
    for word in ("a", "dog", "runs", ".", "sits", "cat"):
        words.add_symbol(word)
    words.save(str(vae.folder / "data" / "dict.txt"))
    out = export(vae.path, str(vae.folder / "out"), tokenizer="moses")
    by_hand = export(vae.path, str(vae.folder / "plain"))
    with_moses, without = hub.text_vae(out), hub.text_vae(by_hand)
    assert torch.equal(with_moses.posterior_means(["a dog runs."]), without.posterior_means(["a dog runs ."]))
    found = without.interpolate("a dog runs .", "a cat sits .", steps=4)
    assert with_moses.located.writes("a dog runs .") == "a dog runs."
    assert with_moses.interpolate("a dog runs.", "a cat sits.", steps=4) == [
        with_moses.located.tokenizer.decode(text) for text in found
    ]
    argv = ["vae-sample", out, "--interpolate", "a dog runs.", "a cat sits.", "--steps", "4", "--no-unk", "--cpu"]
    assert main(argv) == 0
    shown = [line[4:].strip() for line in capsys.readouterr().out.splitlines()]
    assert shown == ["a dog runs.", *with_moses.interpolate("a dog runs.", "a cat sits.", steps=4), "a cat sits."]


def test_a_checkpoint_of_a_run_finds_its_data(vae):
    text = "w0 w1 w2"
    assert hub.text_vae(vae.path).reconstruct([text]) == [greedy(vae.model, mean_of(vae.model, text))]


def test_mistakes_are_explained(vae):
    out = str(vae.folder / "out")
    (vae.folder / "other").mkdir()
    dictionary(WORDS + 1).save(str(vae.folder / "other" / "dict.txt"))
    export(vae.path, str(vae.folder / "ready"))
    loaded = hub.text_vae(str(vae.folder / "ready"))
    mistakes = {
        "--pair is for pairs": lambda: export(vae.path, out, pair=True),
        "--direction is for pairs": lambda: export(vae.path, out, direction="forward"),
        "has 11 symbols, the network was trained with 10": lambda: export(
            vae.path, out, data=str(vae.folder / "other")
        ),
        "there is no dictionary": lambda: export(vae.path, out, data=str(vae.folder)),
        "--quantization int8 belongs to --format ctranslate2": lambda: export(vae.path, out, quantization="int8"),
        "--language is for --tokenizer": lambda: export(vae.path, out, language="de"),
        "--notes: .* cannot be read": lambda: export(vae.path, out, notes=str(vae.folder / "none.md")),
        "does not fit": lambda: hub.text_vae(vae.path, str(vae.folder / "other")),
        "there is no .*dict.txt": lambda: hub.text_vae(vae.path, str(vae.folder)),
        "steps must be at least 2": lambda: loaded.interpolate("w0", "w1", steps=1),
        "the line is empty": lambda: loaded.reconstruct([""]),
        "not a pair of networks": lambda: hub.from_pretrained(str(vae.folder / "ready")),
    }
    for message, mistake in mistakes.items():
        with pytest.raises(AMIError, match=message) as stop:
            mistake()
        assert "\n" not in str(stop.value)
    assert not (vae.folder / "out").exists()
