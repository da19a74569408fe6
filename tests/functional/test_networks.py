"""The networks of the package, as a user meets them: by name, from Python, torch.hub and the shell; and the tour."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from functional.commands import ROOT
from sacrebleu.metrics import CHRF

from fairseq_ami import cli, hub
from fairseq_ami.tools.sharing import register

PAIR, VAE = "multi30k.en-de", "multi30k.en-vae"
SOURCES = ["Two dogs are playing in the snow.", "A woman in a red dress is sitting on a bench."]
TARGETS = ["Zwei Hunde spielen im Schnee.", "Eine Frau in einem roten Kleid sitzt auf einer Bank."]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of our own, as on a machine that has never seen a network."""
    before = os.environ.get("FAIRSEQ_AMI_CACHE")
    os.environ["FAIRSEQ_AMI_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("FAIRSEQ_AMI_CACHE")
    if before is not None:
        os.environ["FAIRSEQ_AMI_CACHE"] = before


@pytest.fixture(scope="module")
def pair():
    return hub.from_pretrained(PAIR)


def run(command, folder, **options):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_they_are_small_and_in_half_precision(pair):
    networks = register.registered()
    assert networks[PAIR].size <= 6e6 and networks[VAE].size <= 4e6
    for name in (PAIR, VAE):
        path = Path(register.located(name))
        assert path.stat().st_size == networks[name].size
        state = torch.load(Path(hub.unpacked(str(path))) / "model.pt", weights_only=True)
        floats = {weight.dtype for weight in state["model"].values() if weight.is_floating_point()}
        assert floats == {torch.bfloat16 if name == PAIR else torch.float16}
    assert next(pair.parameters()).dtype == torch.float32  # it computes in full precision


def test_they_translate_both_ways(pair):
    """Captions that are in no training set come out close to what a person would write."""
    for found, wanted in ((pair.translate(SOURCES), TARGETS), (pair.backtranslate(TARGETS), SOURCES)):
        assert CHRF().corpus_score(found, [wanted]).score > 75
    right, wrong = pair.score(SOURCES, TARGETS), pair.score(SOURCES, TARGETS[::-1])
    assert all(one.log_prob > other.log_prob + 20 for one, other in zip(right, wrong))


def test_the_shell_by_name(pair, tmp_path, capsys):
    """Text in, text out, both ways; n-best, samples with noise, reranking by Q with scores."""
    (tmp_path / "en").write_text("".join(line + "\n" for line in SOURCES))
    (tmp_path / "de").write_text("".join(line + "\n" for line in TARGETS))

    def translate(*options):
        assert cli.main(["translate", PAIR, *map(str, options), "--cpu"]) == 0
        return capsys.readouterr().out.splitlines()

    assert translate(tmp_path / "en") == pair.translate(SOURCES)
    assert translate(tmp_path / "de", "--direction", "backward") == pair.backtranslate(TARGETS)
    rows = [line.split("\t") for line in translate(tmp_path / "en", "--lambda", 0.5, "--nbest", 3, "--scores")]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2"] * 3
    for row in rows:
        score, log_p, log_q = map(float, row[1:4])
        source = SOURCES[int(row[0]) - 1]
        back = pair.score(row[4], source, "backward")
        assert log_q == pytest.approx(back.log_prob, abs=2e-3)
    lines = translate(tmp_path / "en", "--sampling", "--noise", "--nbest", 3, "--json")
    assert [len(json.loads(line)["hypotheses"]) for line in lines] == [3, 3]


def test_torch_hub_by_name(pair, tmp_path):
    code = (
        "import json, torch\n"
        f"load = lambda *names: torch.hub.load({str(ROOT)!r}, *names, source='local')\n"
        f"found = load('ami', {PAIR!r}).translate({SOURCES!r})\n"
        f"print(json.dumps([found, load('text_vae', {VAE!r}).interpolate(*{SOURCES!r}, steps=3)]))\n"
    )
    found, line = json.loads(run([sys.executable, "-c", code], tmp_path).splitlines()[-1])
    assert found == pair.translate(SOURCES)
    assert line == hub.text_vae(VAE).interpolate(*SOURCES, steps=3) and len(set(line)) > 1


def test_between_two_sentences_from_the_shell(capsys):
    argv = ["vae-sample", VAE, "--interpolate", *SOURCES, "--steps", "3", "--no-unk", "--prior", "2", "--cpu"]
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out
    texts = [line[4:].strip() for line in shown.splitlines()[:5]]
    assert texts == [SOURCES[0], *hub.text_vae(VAE).interpolate(*SOURCES, steps=3), SOURCES[1]]
    assert " ." not in shown and len(shown.split("\n\n")) == 2


def test_the_list_and_the_cards(capsys):
    """What the list says is what lies there; a card has data, licence, scores and how the network was trained."""
    assert cli.main(["networks"]) == 0
    listed = capsys.readouterr().out
    for name, entry in register.registered().items():
        assert re.search(rf"^{re.escape(name)} +{entry.size / 1e6:.1f} +this package +{entry.card}$", listed, re.M)
        assert cli.main(["networks", name]) == 0
        card = capsys.readouterr().out
        assert all(f"## {title}\n" in card for title in ("Data and licence", "Scores", "How it was trained"))
    assert cli.main(["networks", "none"]) == 2
    assert capsys.readouterr().err.startswith("fairseq-ami: error: there is no network none in the register: it holds")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda content: content[:1000], "it has 1000 bytes, not"),
        (lambda content: b"\0" + content[1:], "its sha256 is"),
        (None, "it cannot be read (No such file or directory)"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, monkeypatch, capsys, damage, message):
    shutil.copy(register.REGISTER, tmp_path / "register.json")
    place = tmp_path / register.registered()[PAIR].file
    place.parent.mkdir()
    if damage:
        place.write_bytes(damage((register.REGISTER.parent / register.registered()[PAIR].file).read_bytes()))
    monkeypatch.setattr(register, "REGISTER", tmp_path / "register.json")
    (tmp_path / "in").write_text("A dog.\n")
    for argv in (["translate", PAIR, str(tmp_path / "in")], ["networks", PAIR]):
        assert cli.main(argv) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_a_wheel_would_carry_them():
    """The patterns of setup.py and MANIFEST.in take in every file that the register names."""
    setup, manifest = ((ROOT / name).read_text() for name in ("setup.py", "MANIFEST.in"))
    assert '"tar.gz"' in setup and " *.tar.gz" in manifest
    assert all(entry.file.endswith(".tar.gz") for entry in register.registered().values() if entry.file)


def test_make_try(tmp_path):
    """The target's own command; its answer has translations in both directions, scores and a line of sentences."""
    shown = run(["make", "-C", ROOT, "try", f"PY={sys.executable}"], tmp_path)
    assert "Zwei Hunde spielen im Schnee." in shown and "Two dogs" in shown
    assert len(re.findall(r"\[-\d+\.\d, -\d+\.\d\]", shown)) == 4
    assert re.search(r"^\d+\.\d seconds\.", shown, re.M)


def test_the_tour(tmp_path):
    """A page whose every chapter has its table, with three figures that can be read; nothing beside them."""
    argv = [sys.executable, ROOT / "examples" / "tour" / "tour.py", "--output", tmp_path / "out", "--figures", "png"]
    assert run([*argv, "--samples", 3, "--beam", 3], tmp_path) == f"{tmp_path / 'out'}/index.html\n"
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert sorted(files) == ["index.html", "line.png", "rewards.png", "samples.png"]
    assert all(content[:8] == b"\x89PNG\r\n\x1a\n" for name, content in files.items() if name.endswith(".png"))
    page = files["index.html"].decode()
    assert [page.count(f'src="{name}"') for name in files if name != "index.html"] == [1, 1, 1]
    chapters = re.split(r"<h2>", page)[1:]
    assert [chapter.count("<table>") for chapter in chapters[:4]] == [3, 1, 3, 1]
    assert "\u00fc" in page and "<td>Zwei Hunde" in page
