"""fairseq-generate and fairseq-interactive on a trained pair, without the pretraining files."""

import shutil
from pathlib import Path
from typing import Any, Dict, List

import pytest
import torch
from functional.checkpoints import load
from functional.commands import PLUGIN, Result, run

PLAIN = ["--cpu", "--no-progress-bar", "--beam", "3", "--batch-size", "5", "--num-workers", "0", "--max-len-b", "10"]
# without it fairseq leaves out a last batch that is not a multiple of 8
PLAIN += ["--required-batch-size-multiple", "1"]


def generate(data: Path, checkpoint: Path, folder: Path, *extra: Any, **kwargs: Any) -> Result:
    options = [data, "--path", checkpoint, *PLAIN, "--user-dir", PLUGIN, *extra]
    return run("generate", options, folder / "generate.log", **kwargs)


def hypotheses(result: Result) -> List[str]:
    """Number, score and words of every hypothesis."""
    found = sorted(line for line in result.text.splitlines() if line.startswith("H-"))
    assert len(found) >= 3
    return found


def words(line: str) -> str:
    return line.split("\t")[2]


@pytest.fixture(scope="module")
def alone(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint whose settings name pretraining files that are gone."""
    state = load(trained)
    state["cfg"]["model"].forward_checkpoint = state["cfg"]["model"].backward_checkpoint = "/nonexistent/file.pt"
    path = tmp_path_factory.mktemp("alone") / "checkpoint.pt"
    torch.save(state, path)
    return path


DIRECTIONS = {"forward": ["-s", "en", "-t", "de"], "backward": ["-s", "de", "-t", "en"]}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("task", ["ami_translation", "translation"])
def test_decodes_as_the_stock_network(
    task: str, direction: str, data: Path, stock: Dict[str, Path], alone: Path, tmp_path: Path
) -> None:
    languages = DIRECTIONS[direction]
    plain = generate(data, stock[direction], tmp_path, *languages)
    pair = generate(data, alone, tmp_path, *languages, "--task", task)
    assert hypotheses(pair) == hypotheses(plain)


def test_languages_that_were_inferred(data: Path, stock: Dict[str, Path], alone: Path, tmp_path: Path) -> None:
    forward = generate(data, alone, tmp_path)
    assert hypotheses(forward) == hypotheses(generate(data, stock["forward"], tmp_path))


def test_other_languages_are_refused(data: Path, alone: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "data"
    shutil.copytree(data, renamed)
    for path in list(renamed.iterdir()):
        path.rename(path.with_name(path.name.replace("en", "fr")))
    for task in ("ami_translation", "translation"):
        result = generate(renamed, alone, tmp_path, "-s", "fr", "-t", "de", "--task", task, check=False)
        assert result.code != 0 and "translates en -> de and back" in result.text and "Pass -s en -t de" in result.text
        assert "Traceback" not in result.text


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_interactive(direction: str, data: Path, stock: Dict[str, Path], alone: Path, tmp_path: Path) -> None:
    words = "s0 s1 s2\ns3 s0\n\ns5\n" if direction == "forward" else "t0 t1 t2\nt3 t0\n\nt5\n"
    (tmp_path / "input.txt").write_text(words)
    common = [data, *DIRECTIONS[direction], "--input", tmp_path / "input.txt", *PLAIN[:4], "--buffer-size", "4"]
    plain = run("interactive", [*common, "--path", stock[direction], "--user-dir", PLUGIN], tmp_path / "plain.log")
    pair = run("interactive", [*common, "--path", alone, "--user-dir", PLUGIN], tmp_path / "pair.log")
    assert hypotheses(pair) == hypotheses(plain)


def test_noise_at_generation(data: Path, alone: Path, tmp_path: Path) -> None:
    noisy = ["--task", "ami_translation", "--latent-noise-draws", "3", "--nbest", "3"]
    loud = ["--model-overrides", "{'noise_scale': 4.0}"]
    first = generate(data, alone, tmp_path, *noisy, *loud)
    lines = hypotheses(first)
    assert len(lines) == 3 * 12
    assert len({words(line) for line in lines if line.startswith("H-0\t")}) > 1
    assert hypotheses(generate(data, alone, tmp_path, *noisy, *loud)) == lines
    other = hypotheses(generate(data, alone, tmp_path, *noisy, *loud, "--batch-size", "2"))
    assert [words(line) for line in other] == [words(line) for line in lines]  # the scores agree to rounding
    assert hypotheses(generate(data, alone, tmp_path, *noisy, *loud, "--seed", "9")) != lines


def test_noise_of_typed_sentences(data: Path, alone: Path, tmp_path: Path) -> None:
    """fairseq-interactive finds what fairseq-generate finds in the same lines, whatever its buffers and batches."""
    noisy = ["--task", "ami_translation", "--latent-noise-draws", "3", "--nbest", "3"]
    loud = ["--model-overrides", "{'noise_scale': 4.0}"]
    want = sorted(line.split("\t")[::2] for line in hypotheses(generate(data, alone, tmp_path, *noisy, *loud)))
    text = data.parent / "text" / "test.en"
    options = [*PLAIN[:4], "--max-len-b", "10", "--input", text, "--user-dir", PLUGIN, *noisy, *loud]
    for sizes in (["--buffer-size", "5", "--batch-size", "2"], ["--buffer-size", "100", "--batch-size", "7"]):
        argv = [data, "--path", alone, *options, *sizes, "-s", "en", "-t", "de"]
        got = hypotheses(run("interactive", argv, tmp_path / "interactive.log"))
        assert sorted(line.split("\t")[::2] for line in got) == want


def test_replaced_unknown_words(data: Path, trained: Path, tmp_path: Path) -> None:
    """--replace-unk reads raw data, in which an unknown word keeps its name, as with the stock task."""
    for language in DIRECTIONS["forward"][1::2]:
        shutil.copy(data / f"dict.{language}.txt", tmp_path)
        (tmp_path / f"test.en-de.{language}").write_text(f"{language}s0 s1 never-seen\n" * 3)
    (tmp_path / "words.txt").write_text("never-seen nie-gesehen\n")
    options = [*DIRECTIONS["forward"], "--dataset-impl", "raw", "--replace-unk", tmp_path / "words.txt"]
    stock, ours = (
        generate(tmp_path, trained, tmp_path, *options, "--task", task) for task in ("translation", "ami_translation")
    )
    assert hypotheses(ours) == hypotheses(stock)
    assert [line for line in ours.text.splitlines() if line.startswith("S-")] == [
        line for line in stock.text.splitlines() if line.startswith("S-")
    ]
    assert ours.text.count("never-seen") >= 3


def test_noise_needs_a_noise_network(data: Path, stock: Dict[str, Path], alone: Path, tmp_path: Path) -> None:
    noisy = ["--task", "ami_translation", "--latent-noise-draws", "2"]
    plain = generate(data, stock["forward"], tmp_path, *noisy, check=False)
    swapped = generate(data, alone, tmp_path, *noisy, *DIRECTIONS["backward"], check=False)
    for result in (plain, swapped):
        assert result.code != 0 and "--latent-noise-draws" in result.text and "Traceback" not in result.text


def test_pickle_that_runs_code_is_refused(data: Path, tmp_path: Path, malicious: Path) -> None:
    for options in (["--user-dir", PLUGIN, "--task", "ami_translation"], ["--user-dir", PLUGIN]):
        argv = [data, "--path", malicious, *PLAIN, *options]
        result = run("generate", argv, tmp_path / "generate.log", check=False)
        assert result.code != 0
        assert not (malicious.parent / "pwned").exists()
