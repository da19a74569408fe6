"""The interface for Python and torch.hub, against what fairseq-generate prints."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from functional.commands import ROOT
from functional.export_fixtures import LANGUAGES, column, generate, lines, trained_pair, write_codes

from fairseq_ami.errors import AMIError
from fairseq_ami.hub import AMIHubInterface, from_pretrained
from fairseq_ami.tools.sharing.bundle import export

KINDS = ("transformer", "lstm")
DIRECTIONS = ("forward", "backward")


@pytest.fixture(scope="module")
def pair(home: Path, data: Path) -> Path:
    return trained_pair(home, data, "transformer")


@pytest.fixture(scope="module")
def hubs(home: Path, data: Path):
    return {kind: from_pretrained(str(trained_pair(home, data, kind))) for kind in KINDS}


@pytest.fixture(scope="module")
def text(data: Path):
    return {name: (data.parent / "text" / f"test.{name}").read_text().splitlines() for name in ("en", "de")}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_translations_are_those_of_fairseq_generate(home, data, hubs, text, tmp_path, kind, direction):
    printed = generate(data, trained_pair(home, data, kind), direction, tmp_path / "log", plugin=True)
    source = text[LANGUAGES[direction][0]]
    assert hubs[kind].translate(source, beam=5, max_len_b=20, direction=direction) == column(printed, "H")
    if direction == "backward":
        assert hubs[kind].backtranslate(source, max_len_b=20) == column(printed, "H")
    assert hubs[kind].translate(source[0], max_len_b=20, direction=direction) == column(printed, "H")[0]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_score_reference(home, data, hubs, text, tmp_path, kind, direction):
    checkpoint = trained_pair(home, data, kind)
    printed = generate(data, checkpoint, direction, tmp_path / "log", "--score-reference", plugin=True)
    source, target = (text[language] for language in LANGUAGES[direction])
    for score, line, reference in zip(hubs[kind].score(source, target, direction), lines(printed, "P"), target):
        bits = [float(number) for number in line.split("\t")[1].split()]
        assert score.tokens == [*reference.split(), "</s>"]
        assert (score.token_log_probs / math.log(2)).tolist() == pytest.approx(bits, abs=1e-4)
        assert score.log_prob == pytest.approx(sum(bits) * math.log(2), abs=2e-3)
    assert hubs[kind].score(source[0], target[0], direction).log_prob == pytest.approx(
        hubs[kind].score(source, target, direction)[0].log_prob, abs=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_samples_at_low_temperature_are_greedy_search(hubs, text, kind):
    for direction in DIRECTIONS:
        source = text[LANGUAGES[direction][0]]
        limit = {"max_len_a": 1.5, "max_len_b": 9, "min_len": 0}  # fairseq does not count the end symbol
        greedy = [hubs[kind].translate(line, beam=1, direction=direction, **limit) for line in source]
        cold = hubs[kind].sample(source, 2, noise=False, temperature=1e-6, direction=direction)
        assert cold == [[sentence, sentence] for sentence in greedy]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_follow_the_scores(hubs, text, kind):
    """How often a sentence is drawn is its probability."""
    source, count = text["en"][0], 2000
    drawn = hubs[kind].sample(source, count, noise=False, topk=0)
    frequent = max(set(drawn), key=drawn.count)
    probability = math.exp(hubs[kind].score(source, frequent).log_prob)
    error = math.sqrt(probability * (1 - probability) / count)
    assert abs(drawn.count(frequent) / count - probability) < 5 * error


@pytest.mark.parametrize("kind", KINDS)
def test_samples_depend_on_seed_noise_and_nothing_else(hubs, text, kind):
    hub, source = hubs[kind], text["en"]
    drawn = hub.sample(source, 4, seed=5)
    assert [len(each) for each in drawn] == [4] * len(source)
    assert hub.sample(source, 4, seed=5) == drawn != hub.sample(source, 4, seed=6)
    assert hub.sample(source[0], 4, seed=5) == drawn[0], "alone as in company"
    quiet = hub.sample(source, 4, seed=5, noise=False)
    assert quiet != drawn
    noise = hub.models[0].latent_noise
    scale, noise.scale = noise.scale, 0.0
    try:
        assert hub.sample(source, 4, seed=5) == quiet, "noise of size 0 is no noise"
    finally:
        noise.scale = scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction, reader", [("forward", "backward_model"), ("backward", "forward_model")])
def test_samples_can_be_read_by_the_other_network(hubs, text, kind, direction, reader):
    encoder = getattr(hubs[kind].models[0], reader).encoder
    source = text[LANGUAGES[direction][0]]
    limit, encoder.max_source_positions = encoder.max_source_positions, 3
    try:
        drawn = hubs[kind].sample(source, 20, noise=False, direction=direction)
    finally:
        encoder.max_source_positions = limit
    assert max(len(sentence.split()) for each in drawn for sentence in each) == 2  # and the end symbol


def test_folder_with_text_processing(pair, home, data, hubs, text, tmp_path):
    codes = write_codes(tmp_path / "codes.txt")
    out = export(str(pair), str(tmp_path / "pair"), pair=True, bpe_codes=str(codes), tokenizer="moses")
    hub = from_pretrained(out)
    assert isinstance(hub, AMIHubInterface)
    assert hub.translate(text["en"], max_len_b=20) == hubs["transformer"].translate(text["en"], max_len_b=20)
    assert hub.score("s1.", "t1").tokens == ["t1", "</s>"]
    with hub.facing("backward"):
        assert (hub.tokenizer.cfg.source_lang, hub.tokenizer.cfg.target_lang) == ("de", "en")
    assert (hub.tokenizer.cfg.source_lang, hub.direction) == ("en", "forward")
    swapped = from_pretrained(out, source_lang="de", target_lang="en")
    assert swapped.direction == "backward"
    assert swapped.translate(text["de"], max_len_b=20) == hub.backtranslate(text["de"], max_len_b=20)
    assert swapped.translate(text["en"], max_len_b=20, direction="forward") == hub.translate(text["en"], max_len_b=20)


def test_torch_hub_in_a_fresh_process(pair, hubs, text, tmp_path):
    archive = Path(export(str(pair), str(tmp_path / "pair.tar.gz"), pair=True))
    before = archive.read_bytes()
    code = (
        "import json, sys, torch\n"
        f"hub = torch.hub.load({str(ROOT)!r}, 'ami', {str(archive)!r}, source='local', trust_repo=True)\n"
        f"print(json.dumps(hub.translate({text['en']!r}, max_len_b=20)))\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["FAIRSEQ_AMI_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == hubs["transformer"].translate(text["en"], max_len_b=20)
    assert archive.read_bytes() == before and len(list((tmp_path / "cache").iterdir())) == 1


def test_mistakes_are_explained(pair, stock, hubs, data, tmp_path):
    hub = hubs["transformer"]
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"\x1f\x8b no archive")
    calls = {
        "no model": lambda: from_pretrained(str(tmp_path / "none")),
        "no file": lambda: from_pretrained(str(tmp_path)),
        "not a pair": lambda: from_pretrained(str(stock["forward"])),
        "cannot be unpacked": lambda: from_pretrained(str(broken)),
        "no dict.en.txt": lambda: from_pretrained(str(pair), data_name_or_path=str(tmp_path)),
        "choose forward or backward": lambda: hub.translate("s1", direction="sideways"),
        "one target": lambda: hub.score(["s1"], ["t1", "t2"]),
        "noise=False": lambda: hub.sample("t1", direction="backward"),
        "num_samples": lambda: hub.sample("s1", num_samples=0),
        "symbols, the model takes": lambda: hub.translate("s1 " * 5000),
    }
    for message, call in calls.items():
        with pytest.raises(AMIError, match=message):
            call()
    assert hub.direction == "forward" and hub.models[0].direction == "forward"


def test_empty_input(hubs):
    hub = hubs["transformer"]
    assert hub.translate([]) == [] and hub.score([], []) == [] and hub.sample([]) == []
    assert isinstance(hub.translate("", max_len_b=5), str)
    assert torch.isfinite(hub.score("s1", "").token_log_probs).all()
