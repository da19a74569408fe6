"""The blocks of the guides, run one after the other as they stand, on small data and with small numbers."""

import csv
import gzip
import importlib.util
import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Sequence

import pytest
import torch
from functional.corpus import pairs, write_pairs
from functional.export_fixtures import write_codes
from functional.page_commands import ROOT, blocks_of, environment_with
from functional.settings import TRANSFORMER_SIZES, stock_args, train
from functional.test_ami_dialog import write_dialogues
from functional.vae_settings import sentences

pytestmark = pytest.mark.slow
# what is not run: installations, and builds of other programs
AROUND = "set -euo pipefail\nmake() { :; }\npip() { :; }\n"
HRED_SIZES = "--embed-dim 8 --encoder-hidden-size 8 --context-hidden-size 8 --decoder-hidden-size 8"
VAE_SIZES = "--embed-dim 8 --hidden-size 8 --latent-dim 4 --max-target-positions 12 --cpu"


def run(folder: Path, script: str, short: Dict[str, str]) -> str:
    """Run commands of a page, each *long* part replaced by a short one, and stop at the first that fails."""
    for long, instead in short.items():
        script = script.replace(long, instead)
    (folder / "run.sh").write_text(AROUND + script)
    done = subprocess.run(
        ["bash", "run.sh"], cwd=folder, env=environment_with(folder), capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def blocks(page: str, *numbers: int) -> str:
    found = [block.text for block in blocks_of(page)]
    return "".join(found[number] for number in numbers or range(len(found)))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_rewards(data: Path, stock: Dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    for name, path in stock.items():
        shutil.copy(path, tmp_path / f"{name}.pt")
    write_pairs(tmp_path, "mono", pairs(20, 7))
    write_pairs(tmp_path, "valid", pairs(8, 9))
    page = (ROOT / "docs" / "rewards.md").read_text()
    (tmp_path / "my_rewards.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    short = {"--max-tokens 1000 --max-update 2000": "--max-tokens 100 --max-update 3 --cpu --disable-validation"}
    short |= {"--log-samples 100": "--log-samples 1", "--beam 5": "--beam 2 --cpu --max-len-b 10"}
    printed = run(tmp_path, blocks("docs/rewards.md"), short)
    assert "beam search" in printed and "my_rewards" in printed
    runs = ("chrf", "own", "both", "risk", "neutral", "anchor", "unlabelled", "shown")
    assert all((tmp_path / "runs" / name / "checkpoint_last.pt").is_file() for name in runs)
    assert (tmp_path / "ceiling.tsv").is_file() and json.loads(printed.strip().splitlines()[-1])


def fill_sheets(folder: Path, judges: Sequence[str]) -> None:
    """What three judges would send back: all prefer what stands on the left."""
    (sheet,) = (folder / "study" / "judges").glob("*.csv")
    rows = list(csv.DictReader(sheet.read_text("utf-8-sig").splitlines()))
    for judge in judges:
        with open(folder / f"{judge}.csv", "w", encoding="utf-8-sig", newline="") as out:
            writer = csv.DictWriter(out, rows[0])
            writer.writeheader()
            writer.writerows({**row, "judge": judge, "answer": "left"} for row in rows)


def test_dialogue(tmp_path: Path) -> None:
    for split, count in {"train": 30, "valid": 6, "test": 16}.items():
        text = write_dialogues(tmp_path / f"{split}.txt", count, count).read_bytes()
        (tmp_path / f"{split}.txt.gz").write_bytes(gzip.compress(text))
    page = "docs/dialogue.md"
    run(tmp_path, blocks(page, 0), {})
    for name, (sub, sides) in {"forward": ("", "hist reply"), "backward": ("backward", "context last")}.items():
        source, target = sides.split()
        network = ["--arch", "transformer", *TRANSFORMER_SIZES, "-s", source, "-t", target]
        train(tmp_path / name, stock_args(tmp_path / "data" / sub, tmp_path / name, 10, *network))
        shutil.copy(tmp_path / name / "checkpoint_last.pt", tmp_path / f"{name}.pt")
    short = {"--max-tokens 4000 --max-update 2000": "--max-tokens 200 --max-update 6 --cpu"}
    short |= {
        "--beam 5": "--beam 2 --cpu --max-len-b 8",
        "--sampling --beam 20": "--sampling --beam 3 --cpu --max-len-b 8",
    }
    short |= {"--beam 10": "--beam 2 --cpu --max-len-b 8"}
    run(tmp_path, blocks(page, 1), short)
    best = tmp_path / "checkpoints" / "ami" / "checkpoint_best.pt"
    (tmp_path / "checkpoints" / "mle").mkdir()
    for copy in ("checkpoints/mle/checkpoint_best.pt", "A.pt", "B.pt", "C.pt"):
        shutil.copy(best, tmp_path / copy)
    assert "ami" in run(tmp_path, blocks(page, 2), short)
    replies = (tmp_path / "data" / "test.reply").read_text().splitlines()
    assert lines(tmp_path / "test.reply") == len(replies)
    shutil.copy(tmp_path / "data" / "test.hist", tmp_path)
    for number, name in enumerate(("mle", "ami", "mle.1", "mle.2", "ami.1", "ami.2")):
        shuffled = random.Random(number).sample(replies, len(replies))
        (tmp_path / f"{name}.txt").write_text("".join(reply + "\n" for reply in shuffled))
    assert "average" in run(tmp_path, blocks(page, 3), {}) and (tmp_path / "table.md").is_file()
    *before, score = blocks(page, 4).splitlines(keepends=True)
    shorter = {"--out study": "--count 5 --out study", "--html ": "--count 5 --html "}
    shorter |= {"adversarial-eval": "adversarial-eval --epochs 1 --cpu"}
    run(tmp_path, "".join(before), shorter)
    fill_sheets(tmp_path, ("alice", "bob", "carol"))
    assert "kappa" in run(tmp_path, score, {}) and (tmp_path / "examples.html").is_file()


def test_dialogue_systems(tmp_path: Path) -> None:
    for split, count in {"train": 30, "valid": 6, "test": 16}.items():
        write_dialogues(tmp_path / f"{split}.txt", count, count)
    short = {f"{name}_dialog --": f"{name}_tiny {HRED_SIZES} --" for name in (" hred", "vhred", "dir_vhred", "vhcr")}
    short |= {"--max-epoch 20 --patience 3": "--max-update 3 --cpu", "ami_hred_dialog": "ami_hred_tiny"}
    short |= {"--max-tokens 4000": "--max-tokens 200 --cpu", "--max-update 2000": "--max-update 3"}
    short |= {"dialog_gan_dialog": "dialog_gan_tiny", "--discriminator-updates 200": "--discriminator-updates 1"}
    short |= {"--max-tokens 2000 --max-update 2300": "--max-tokens 200 --max-update 8 --cpu --completions 2"}
    short |= {"--json adversarial.json": "--json adversarial.json --cpu --epochs 1"}
    short |= {"--iw-samples 50": "--iw-samples 2 --cpu", "--beam 5": "--beam 2 --cpu --max-len-b 8"}
    script = blocks("docs/dialogue_systems.md").replace(
        "fairseq-interactive data", "head -2 data/test.hist | fairseq-interactive data"
    )
    replies = "cp data/test.reply hred.txt; tac data/test.reply > cgan.txt\n"  # the page has them from decoding
    script = script.replace("fairseq-ami adversarial-eval", f"{replies}fairseq-ami adversarial-eval")
    printed = run(tmp_path, script, short)
    assert len(re.findall(r"^H-0\t", printed, re.MULTILINE)) == 13  # hred, 10 draws, the first typed line, and cgan
    runs = ("hred", "vhred", "dir_vhred", "vhcr", "hred-backward", "ami", "cgan")
    assert (tmp_path / "cgan.pt").is_file() and (tmp_path / "adversarial.json").is_file()
    assert all((tmp_path / name / "checkpoint_last.pt").is_file() for name in runs)


def test_text_vae(tmp_path: Path) -> None:
    for split, count in {"train": 48, "valid": 12, "test": 12}.items():
        (tmp_path / f"{split}.txt").write_text("".join(line + "\n" for line in sentences(count, count)))
    short = {"--arch text_vae_lstm --": f"--arch text_vae_lstm_tiny {VAE_SIZES} --"}
    short |= {"--arch text_lm_lstm": f"--arch text_lm_lstm_tiny {VAE_SIZES.replace('--latent-dim 4 ', '')}"}
    short |= {"--max-epoch 20": "--max-epoch 1", "--max-epoch 5": "--max-epoch 1", "--max-epoch 4": "--max-epoch 1"}
    short |= {
        "--iw-after-epochs 6 --max-epoch 8": "--iw-after-epochs 1 --max-epoch 2",
        "--iw-samples 500": "--iw-samples 5 --cpu",
    }
    short |= {
        "--data data-bin --prior": "--data data-bin --cpu --prior",
        "one sentence": "w1 w2",
        "another one": "w3 w4",
    }
    if not shutil.which("lmplz"):  # KenLM is built by `make kenlm`
        short["--json figures.json"] = "--no-generation --json figures.json"
    run(tmp_path, blocks("docs/text_vae.md"), short)
    assert len(json.loads((tmp_path / "figures.json").read_text())) >= 2
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("training.png", "latent.png"))


@pytest.fixture
def networks(data: Path, trained: Path, stock: Dict[str, Path], tmp_path: Path) -> Path:
    """A pair, its copies under the names of the pages, data, codes and text."""
    shutil.copytree(data, tmp_path / "data-bin")
    (tmp_path / "checkpoints" / "ami").mkdir(parents=True)
    copies = ["CHECKPOINT", "A.pt", "B.pt", "C.pt", "checkpoints/ami/checkpoint_best.pt"]
    copies += [f"checkpoints/checkpoint_1_{update}.pt" for update in range(1, 6)]
    for name in copies:
        shutil.copy(trained, tmp_path / name)
    shutil.copy(stock["backward"], tmp_path / "de-en.pt")
    for name in ("codes", "bpe.codes"):
        write_codes(tmp_path / name)
    (tmp_path / "english.txt").write_text("".join(source + "\n" for source, _ in pairs(6, 3)))
    return tmp_path


def test_tools(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-best lists of the second command of reranking come from fairseq-generate, as the page says."""
    lists = "fairseq-generate data-bin --user-dir $(fairseq-ami user-dir) -s en -t de --path CHECKPOINT --cpu --beam 3"
    lists += " --nbest 3 --max-len-b 10 --required-batch-size-multiple 1 --gen-subset"
    short = {"--beam 10": "--beam 2 --cpu --max-len-b 8"}
    made = f"{lists} test > test.out\n{lists} valid > valid.out\n"
    printed = run(networks, made + blocks("docs/tools.md"), short)
    assert lines(networks / "test.de") == 12 and "mmi" in printed
    assert (networks / "pair.tar.gz").is_file() and (networks / "average.pt").is_file()
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tools.md").read_text(), re.DOTALL)
    monkeypatch.chdir(networks)
    monkeypatch.setenv("FAIRSEQ_AMI_CACHE", str(networks / "cache"))
    names: dict = {"torch": torch}
    exec(code.replace("path/to/this/repository", str(ROOT)), names)
    assert len(names["pair"].sample(["s1 s2"], num_samples=4, noise=True)[0]) == 4


def test_export(networks: Path) -> None:
    short = {"--lambda 0.5 <": "--lambda 0.5 --beam 2 <", "reranked.txt": "reranked.txt --beam 2"}
    run(networks, blocks("docs/export.md", 0, 1), short)
    assert lines(networks / "german.txt") == 6 and lines(networks / "reranked.txt") == 12
    assert (networks / "en-de" / "forward" / "model_card.md").is_file()


def test_networks(tmp_path: Path) -> None:
    """The page as it stands, on two captions, and its Python."""
    (tmp_path / "english.txt").write_text("Two dogs are playing.\nA man is sitting on a bench.\n")
    printed = run(tmp_path, blocks("docs/networks.md"), {})
    assert "Zwei Hunde spielen im Schnee." in printed and "Two dogs play in the snow." in printed
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "networks.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert len(names["vae"].sample(3)) == 3


@pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="needs transformers")
def test_export_to_transformers(networks: Path) -> None:
    run(networks, blocks("docs/export.md", 2), {})
    assert (networks / "en-de.hf" / "model_card.md").is_file()
