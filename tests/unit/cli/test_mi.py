"""``fairseq-ami mi`` on Gaussians, whose information is known, and on input that it must refuse."""

import argparse
import json
import math
import os
import pickle

import numpy as np
import pytest
import torch

from fairseq_ami import cli
from fairseq_ami.choices import MI_ESTIMATORS
from fairseq_ami.cli import mi
from fairseq_ami.tools.information import estimation
from fairseq_ami.tools.information.estimation import EstimationSettings, estimate

QUICK = ["--hidden", "32", "--updates", "250", "--lr", "2e-3", "--cpu"]


@pytest.fixture
def save(tmp_path):
    """Saves arrays under names; gives the paths."""

    def files(**arrays):
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        return [str(tmp_path / f"{name}.npy") for name in arrays]

    return files


def run(*argv):
    return cli.main(["mi", *argv])


def correlated(rows, rho, columns=1):
    generator = np.random.default_rng(3)
    x, noise = generator.standard_normal((2, rows, columns))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def test_information_of_correlated_gaussians(save, tmp_path, capsys):
    """-1/2 log(1 - 0.9^2) = 0.83 nats by every estimator, whatever the scale of the columns; JSON holds the same."""
    x, z = correlated(4000, 0.9)
    out = tmp_path / "mi.json"
    assert run(*save(x=x * 1e-3, z=z * 50 + 1e4), "--estimator", "all", *QUICK, "--json", str(out)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4000 rows: 2800 to train, 600 to choose the update, 600 for the figure"
    table = {name: float(nats) for name, nats, *_ in (line.split("\t") for line in lines[3:])}
    assert list(table) == list(MI_ESTIMATORS)
    for name, nats in table.items():
        assert nats == pytest.approx(-math.log(1 - 0.81) / 2, abs=0.2), name
    assert f"log N = {math.log(600):.4f}" in "\n".join(lines)
    written = json.loads(out.read_text())
    assert written["rows"] == {"train": 2800, "choose": 600, "report": 600}
    assert {name: round(result["nats"], 4) for name, result in written["results"].items()} == table
    assert written["settings"]["hidden"] == 32 and written["results"]["infonce"]["cap"] == math.log(600)


@pytest.mark.parametrize("critic", ["separable", "concat"])
def test_no_information_in_independent_arrays(critic):
    """40 columns and 70 rows to train on: the critic knows its rows by heart, which must not show in the figure."""
    x, z = torch.randn(2, 200, 40)
    settings = EstimationSettings(critic, 64, updates=150, batch_size=64, lr=1e-3, valid_fraction=0.65)
    for name in ("dv", "infonce", "nwj"):
        found = estimate(name, x, z, settings)
        assert abs(found.nats) < 0.15, (name, found)


def test_three_parts_share_no_row(monkeypatch):
    """What trains, what chooses and what is reported: disjoint, and together all rows, each x with its own z."""
    seen = {}

    def fit(estimator, train, valid, settings, progress):
        seen.update(train=train, valid=valid)
        estimator.value = lambda x, z: seen.setdefault("test", (x, z))[0].sum()
        return 0, None

    monkeypatch.setattr(estimation, "_fit", fit)
    monkeypatch.setattr(estimation, "_standardised", lambda values, parts: [values[rows] for rows in parts])
    rows = torch.arange(22.0)[:, None]
    estimate("dv", rows, rows * 2, EstimationSettings(valid_fraction=0.5))
    assert [len(seen[part][0]) for part in ("train", "valid", "test")] == [11, 5, 6]
    assert sorted(torch.cat([part[0] for part in seen.values()]).flatten().tolist()) == list(range(22))
    assert all(torch.equal(2 * x, z) for x, z in seen.values())


def test_repeatable_whatever_else_runs(save, capsys):
    """The seed alone decides, not the other estimators nor torch's own state, which stays as it was."""
    paths = save(**dict(zip("xz", correlated(200, 0.5, 2))))
    options = ["--hidden", "8", "--updates", "20", "--batch-size", "16", "--cpu"]
    before = torch.random.get_rng_state()
    outputs = []
    for names, seed in (("mine,tuba", "1"), ("tuba", "1"), ("tuba", "2")):
        run(*paths, "--estimator", names, *options, "--seed", seed)
        outputs.append(capsys.readouterr().out.splitlines()[-1])
    assert outputs[0] == outputs[1] != outputs[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_divergence_is_told(save, capsys):
    """NWJ at an absurd learning rate: the best critic before it counts."""
    paths = save(**dict(zip("xz", correlated(200, 0.5))))
    assert run(*paths, "--estimator", "nwj", *QUICK, "--batch-size", "64", "--lr", "100") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "diverged at update" in last and math.isfinite(float(last.split("\t")[1]))


def test_figure_that_json_cannot_hold():
    found = {"nwj": estimation.Estimate(-math.inf, 0, None, None)}
    text = mi.as_json(argparse.Namespace(x="x", z="z"), EstimationSettings(), (1, 2, 3), found)
    assert json.loads(text, parse_constant=pytest.fail)["results"]["nwj"]["nats"] is None


# ------------------------------------------------------------------ reading


def test_kinds_of_files(tmp_path):
    """.npy, .npz of one array, tensors; one axis is one column."""
    expected = torch.tensor([[1.0], [0.0], [3.0]], dtype=torch.float64)
    np.save(tmp_path / "a.npy", np.array([1, 0, 3], dtype=np.int16))
    np.savez(tmp_path / "b.npz", features=expected.numpy())
    torch.save(expected.bfloat16().requires_grad_(), tmp_path / "c.pt")
    np.save(tmp_path / "d.npy", expected.numpy().astype(np.float16))
    for path in sorted(tmp_path.iterdir()):
        assert torch.equal(mi.read_features(str(path)), expected)
        assert mi.read_features(str(path)).dtype == torch.float64


def refused(capsys, *argv):
    """The message of a run that must fail before it prints or trains."""
    assert run(*argv) == cli.EXIT_USER_ERROR
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    "array, words",
    [
        (np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]]), "NaN or infinite values in 2 rows, first in row 1"),
        (np.zeros((3, 2, 2)), "shape (3, 2, 2)"),
        (np.zeros((0, 2)), "not empty"),
        (np.float64(3.0), "shape ()"),
        (np.array(["a", "b"]), "not real numbers"),
        (np.array([1j, 2.0]), "not real numbers"),
        (np.array([{}, None]), "cannot be read"),
    ],
)
def test_refused_arrays(save, capsys, array, words):
    good, bad = save(good=np.zeros((3, 2)), bad=array)
    assert f"{bad} " in (message := refused(capsys, good, bad)) and words in message


class Code:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_code_of_a_file_runs(tmp_path, save, capsys):
    (good,) = save(good=np.zeros((3, 2)))
    made = tmp_path / "made"
    torch.save(Code(str(made)), tmp_path / "code.pt")
    (tmp_path / "code.npy").write_bytes(pickle.dumps(Code(str(made))))
    for name in ("code.pt", "code.npy"):
        assert f"{tmp_path / name} cannot be read as one array" in refused(capsys, good, str(tmp_path / name))
    assert not made.exists()


def test_refused_files(tmp_path, save, capsys):
    """Missing, damaged, several arrays."""
    (good,) = save(good=np.zeros((3, 2)))
    damaged, several, tensors = (str(tmp_path / name) for name in ("damaged.npy", "several.npz", "dict.pt"))
    (tmp_path / "damaged.npy").write_bytes(open(good, "rb").read()[:-5])
    np.savez(several, a=np.zeros(3), b=np.zeros(3))
    torch.save({"a": torch.zeros(3)}, tensors)
    assert "there is no file nowhere.npy" in refused(capsys, "nowhere.npy", good)
    assert f"there is no file {tmp_path}" in refused(capsys, good, str(tmp_path))
    for path in (damaged, several, tensors):
        assert f"{path} cannot be read as one array" in refused(capsys, good, path)


def test_refused_rows(save, capsys, tmp_path):
    a, b = save(a=np.zeros((10, 2)), b=np.zeros((11, 2)))
    assert f"{a} has 10 rows and {b} has 11" in refused(capsys, a, b)
    assert f"{a} has 10 rows, which leaves 7 to train on" in refused(capsys, a, a)
    assert "leaves 7" in refused(capsys, a, a, "--batch-size", "1")
    assert "at least 4" in refused(capsys, a, a, "--batch-size", "7")
    nowhere = str(tmp_path / "no" / "mi.json")
    assert f"cannot write {nowhere}" in refused(capsys, a, a, "--json", nowhere)


@pytest.mark.parametrize(
    "options",
    [("--estimator", "dv,club"), ("--valid-fraction", "1"), ("--lr", "nan"), ("--updates", "0"), ("--critic", "dot")],
)
def test_refused_options(options, capsys):
    with pytest.raises(SystemExit) as stop:
        run("x.npy", "z.npy", *options)
    assert stop.value.code == 2 and options[0] in capsys.readouterr().err
