"""Exported checkpoints under a fairseq that does not know the plugin; bad input; nothing half-written."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from functional.commands import ROOT
from functional.export_fixtures import column, generate, lines, trained_pair, write_codes
from omegaconf import OmegaConf

from fairseq_ami import cli
from fairseq_ami.checkpoints import read_checkpoint
from fairseq_ami.tools.sharing import bundle
from fairseq_ami.tools.sharing.bundle import export

KINDS = ("transformer", "lstm")


@pytest.fixture(scope="module")
def pair(home: Path, data: Path) -> Path:
    return trained_pair(home, data, "transformer")


@pytest.fixture(scope="module")
def codes(home: Path) -> Path:
    return write_codes(home / "codes.txt")


def python_without_plugin(code: str, cwd: Path) -> str:
    """Run *code* where the package cannot be imported; what it prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.modules['fairseq_ami'] = None\n{code}"],
        cwd=cwd, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_stock_fairseq_prints_the_same_hypotheses_and_scores(home, data, tmp_path, kind, direction):
    checkpoint = trained_pair(home, data, kind)
    plain = export(str(checkpoint), str(tmp_path / "plain.pt"), direction=direction)
    stock = generate(data, Path(plain), direction, tmp_path / "stock.log", "--nbest", 2)
    ours = generate(data, checkpoint, direction, tmp_path / "ours.log", "--nbest", 2, plugin=True)
    assert len(lines(stock, "H")) == 24
    for part in ("H", "P"):
        assert lines(stock, part) == lines(ours, part)


def test_folder_translates_raw_text_without_the_plugin(pair, data, codes, tmp_path):
    folder = export(str(pair), str(tmp_path / "en-de"), "forward", bpe_codes=str(codes), tokenizer="moses")
    out = python_without_plugin(
        "import json, torch\n"
        "from fairseq.models.transformer import TransformerModel\n"
        "model = TransformerModel.from_pretrained('./en-de', max_len_b=20)\n"
        f"text = {(data.parent / 'text' / 'test.en').read_text().splitlines()!r}\n"
        "print(json.dumps([model.translate(text), model.apply_bpe(model.tokenize('s10 s3.'))]))\n",
        tmp_path,
    )
    translations, encoded = json.loads(out.splitlines()[-1])
    assert encoded.strip() == "s10 s3 ."
    assert translations == column(generate(data, pair, "forward", tmp_path / "log", plugin=True), "H")
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        "bpecodes", "dict.de.txt", "dict.en.txt", "model.pt", "model_card.md",
    ]  # fmt: skip


def test_archive_of_the_backward_network_loads_in_stock_fairseq(home, data, tmp_path):
    checkpoint = trained_pair(home, data, "lstm")
    export(str(checkpoint), str(tmp_path / "de-en.tar.gz"), "backward", data=str(data))
    out = python_without_plugin(
        "from fairseq.models.lstm import LSTMModel\n"
        "model = LSTMModel.from_pretrained('./de-en.tar.gz', max_len_b=20)\n"
        f"print(model.translate({(data.parent / 'text' / 'test.de').read_text().splitlines()[0]!r}))\n",
        tmp_path,
    )
    expected = column(generate(data, checkpoint, "backward", tmp_path / "log", plugin=True), "H")
    assert out.splitlines()[-1] == expected[0]


def test_pair_without_training_state(pair, data, tmp_path):
    small = Path(export(str(pair), str(tmp_path / "pair.pt"), pair=True))
    assert small.stat().st_size < pair.stat().st_size / 2
    assert read_checkpoint(str(small))["last_optimizer_state"] is None
    # no allow-list: nothing but tensors and plain values
    python_without_plugin("import torch; torch.load('pair.pt', weights_only=True)", tmp_path)
    for direction in ("forward", "backward"):
        texts = [generate(data, path, direction, tmp_path / "log", plugin=True) for path in (pair, small)]
        assert lines(texts[0], "H") == lines(texts[1], "H")


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_complete_for_an_older_omegaconf(home, data, tmp_path, kind):
    """fairseq 0.12.2 with omegaconf 2.0 sets the configuration to struct: no key may be added later."""
    from types import SimpleNamespace

    from fairseq.data import Dictionary
    from fairseq.models import MODEL_REGISTRY

    plain = read_checkpoint(export(str(trained_pair(home, data, kind)), str(tmp_path / "plain.pt"), "forward"))
    cfg = OmegaConf.create(plain["cfg"])
    OmegaConf.set_struct(cfg, True)
    source, target = (Dictionary.load(str(data / f"dict.{language}.txt")) for language in ("en", "de"))
    task = SimpleNamespace(source_dictionary=source, target_dictionary=target)
    MODEL_REGISTRY[kind].build_model(cfg.model, task).load_state_dict(plain["model"], strict=True)


def test_no_path_of_the_training_machine_is_left(pair, home, tmp_path):
    for name, options in (("plain.pt", {"direction": "forward"}), ("pair.pt", {"pair": True})):
        state = torch.load(export(str(pair), str(tmp_path / name), **options), weights_only=True)
        text = json.dumps(state["cfg"])
        assert str(home) not in text and str(ROOT) not in text


def test_exported_network_starts_another_pair(pair, data, tmp_path):
    """It is accepted as --forward-checkpoint, with its sizes."""
    from fairseq.models.transformer import TransformerModel

    from fairseq_ami.models.pretrained import network_settings

    plain = export(str(pair), str(tmp_path / "plain.pt"), "forward")
    settings = network_settings({"explicit_settings": []}, plain, TransformerModel, "forward")
    assert settings["encoder_embed_dim"] == 16 and settings["decoder_layers"] == 1


def test_average_of_a_checkpoint_with_itself_decodes_the_same(pair, data, tmp_path):
    mean = tmp_path / "mean.pt"
    assert cli.main(["average", "--inputs", str(pair), str(pair), "--output", str(mean)]) == 0
    texts = [generate(data, path, "forward", tmp_path / "log", plugin=True) for path in (pair, mean)]
    assert lines(texts[0], "H") == lines(texts[1], "H") != []


# ---------------------------------------------------------------------- bad input


def fails(capsys, message: str, *argv: object) -> None:
    assert cli.main(["export", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error, error


def test_mistakes_are_explained_and_leave_nothing_behind(pair, stock, data, codes, tmp_path, capsys):
    half = tmp_path / "half.pt"
    half.write_bytes(pair.read_bytes()[:5000])
    no_codes = tmp_path / "no-codes.txt"
    no_codes.write_text("one two three\n")
    other = tmp_path / "other"
    other.mkdir()
    for language in ("en", "de"):
        (other / f"dict.{language}.txt").write_text("word 1\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    out, forward = tmp_path / "out", ("--direction", "forward")
    fails(capsys, "no file", tmp_path / "none.pt", out, *forward)
    fails(capsys, "truncated", half, out, *forward)
    fails(capsys, "not a pair", stock["forward"], out, *forward)
    fails(capsys, "--direction", pair, out)
    fails(capsys, "leave --direction out", pair, out, "--pair", *forward)
    fails(capsys, ".tar.gz", pair, tmp_path / "out.tgz", *forward)
    fails(capsys, "folder or archive", pair, tmp_path / "out.pt", *forward, "--bpe-codes", codes)
    fails(capsys, "does not hold codes", pair, out, *forward, "--bpe-codes", no_codes)
    fails(capsys, "cannot be read", pair, out, *forward, "--bpe-codes", tmp_path / "none.codes")
    fails(capsys, "no dictionary", pair, out, *forward, "--data", tmp_path)
    fails(capsys, "5 symbols", pair, out, *forward, "--data", other)
    fails(capsys, "cannot write", pair, half / "below" / "out.pt", *forward)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["out", "out.pt", "out.tar.gz"])
def test_an_existing_output_is_replaced_only_on_request_and_whole(pair, data, tmp_path, capsys, monkeypatch, name):
    out = tmp_path / name
    export(str(pair), str(out), "forward")
    fails(capsys, "--overwrite", pair, out, "--direction", "backward")
    first = read_folder(tmp_path)

    def disk_full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bundle.torch, "save", disk_full)
        fails(capsys, "No space left", pair, out, "--direction", "backward", "--overwrite")
    assert read_folder(tmp_path) == first, "the old export is still there, and nothing else"
    assert cli.main(["export", str(pair), str(out), "--direction", "backward", "--overwrite"]) == 0
    assert read_folder(tmp_path) != first and [path.name for path in tmp_path.iterdir()] == [name]


def read_folder(folder: Path):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_with_other_files_is_never_replaced(pair, tmp_path, capsys):
    mine = tmp_path / "home"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    fails(capsys, "thesis.tex", pair, mine, "--direction", "forward", "--overwrite")
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_archive_names_no_user(pair, tmp_path):
    with tarfile.open(export(str(pair), str(tmp_path / "a.tar.gz"), "forward")) as archive:
        assert {(member.uid, member.uname) for member in archive} == {(0, "")}
        assert all(member.name.split("/")[0] == "a" for member in archive)
