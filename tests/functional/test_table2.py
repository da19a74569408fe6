"""Table 2 by ``fairseq-ami bound --vectors``: stock decoding of texts that are put together by hand."""

import json
from argparse import Namespace

import pytest
from functional.commands import PLUGIN, run
from functional.export_fixtures import column
from functional.settings import NETWORKS, ami_args, train
from functional.test_ami_dialog import DIALOG, write_dialogues
from functional.test_dialogue_validation import cosine_of_sums, vectors  # noqa: F401  (fixture)

from fairseq_ami import cli
from fairseq_ami.cli.bound import load_pair, pair_task
from fairseq_ami.generation.rollout import roll_out
from fairseq_ami.random_streams import VALIDATION_UPDATE
from fairseq_ami.tools.information.bounds import sampler_settings

SEARCH = ["--beam", 2, "--max-len-a", 1.5, "--max-len-b", 10, "--cpu", "--num-workers", 0, "--user-dir", PLUGIN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What dialog-prepare makes of toy dialogues."""
    work = tmp_path_factory.mktemp("table2")
    sizes = {"train": 30, "test": 5}
    texts = [f"--{split}={write_dialogues(work / f'{split}.talk', n, n)}" for split, n in sizes.items()]
    assert cli.main(["dialog-prepare", "--format", "dailydialog", *texts, "--destdir", str(work / "dialog")]) == 0
    return work / "dialog"


def likeness(data, path, languages, vectors, out):  # noqa: F811
    """Mean cosine of what plain fairseq decodes and what it should have decoded."""
    named = ["-s", languages[0], "-t", languages[1], "--required-batch-size-multiple", 1]
    text = run("generate", [data, "--path", path, *named, *SEARCH], out / "generate.log").text
    pairs = [(hyp.split(), real.split()) for hyp, real in zip(column(text, "H"), column(text, "T"))]
    return sum(cosine_of_sums(*pair, vectors) for pair in pairs) / len(pairs)


def sampled_replies(data, path, frozen_seed):
    """The words that the pair's forward network samples for each history of the test set, by sentence."""
    task = pair_task(Namespace(data=str(data), source_lang=None, target_lang=None), str(path))
    task.load_dataset("test")
    pair, dataset = load_pair(str(path), task), task.dataset("test")
    settings = sampler_settings(task.target_dictionary, frozen_seed, task.separators)
    found = []
    for index in range(len(dataset)):
        batch = dataset.collater([dataset[index]])
        tokens = roll_out(pair, batch, settings, VALIDATION_UPDATE, noise=False, score=False).samples.tokens[0]
        found.append(task.target_dictionary.string(tokens).split())
    return found


@pytest.mark.parametrize("network", NETWORKS)
def test_dialogue(network, folder, vectors, tmp_path):  # noqa: F811
    """Real replies from the backward network's own data; own and frozen samples after the earlier history, as text."""
    args = ami_args(folder, tmp_path, 30, *DIALOG, "--pretrain-updates", 30, "--pretrain-lr", 0.02,
                    "--pretrain-warmup-updates", 5, network=NETWORKS[network])  # fmt: skip
    train(tmp_path, args)
    path, report = tmp_path / "checkpoint_last.pt", tmp_path / "found.json"
    argv = ["bound", folder, "--path", f"it={path}", "--vectors", vectors, "--beam", 2, "--json", report, "--seed", 4]
    assert cli.main([str(word) for word in [*argv, "--frozen-samples", path]]) == 0
    found = json.loads(report.read_text())["it"]
    languages = ("context", "last")
    real = likeness(folder / "backward", path, languages, vectors, tmp_path)
    assert found["likeness_real"] == pytest.approx(real, abs=1e-9)
    histories = [line.split(" <sep> ") for line in (folder / "test.hist").read_text().splitlines()]
    for name, seed in (("own", 4), ("frozen", 5)):
        out = tmp_path / name
        out.mkdir()
        replies = sampled_replies(folder, path, seed)
        contexts = [" <sep> ".join([*turns[:-1], " ".join(reply)]) for turns, reply in zip(histories, replies)]
        (out / "test.context").write_text("".join(line + "\n" for line in contexts))
        (out / "test.last").write_text("".join(turns[-1] + "\n" for turns in histories))
        words = ["--srcdict", folder / "dict.hist.txt", "--joined-dictionary", "--destdir", out / "bin"]
        argv = ["-s", "context", "-t", "last", "--testpref", out / "test", *words, "--workers", 1]
        run("preprocess", argv, out / "preprocess.log")
        expected = likeness(out / "bin", path, languages, vectors, out)
        assert found[f"likeness_{name}"] == pytest.approx(expected, abs=1e-9)


def test_translation(data, trained, tmp_path, capsys):
    """The backward network writes the other language: another dictionary, vectors of its words."""
    vectors = tmp_path / "vectors.txt"  # noqa: F811
    vectors.write_text("".join(f"s{n} {n % 4} {n % 3 - 1} {1 - n % 2}\n" for n in range(1, 20)))
    argv = ["bound", data, "--path", trained, "--vectors", vectors, "--beam", 2, "--json", tmp_path / "found.json"]
    assert cli.main([str(word) for word in argv]) == 0
    (found,) = json.loads((tmp_path / "found.json").read_text()).values()
    expected = likeness(data, trained, ("de", "en"), vectors, tmp_path)
    assert found["likeness_real"] == pytest.approx(expected, abs=1e-9) and -1 <= found["likeness_own"] <= 1
    assert found["likeness_frozen"] is None and "word vectors" in capsys.readouterr().out
