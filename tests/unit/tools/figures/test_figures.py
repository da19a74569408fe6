"""Log lines written by hand, the table, PCA against scikit-learn, and figures as files."""

import sys

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from fairseq_ami import cli
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.figures import latent, training
from fairseq_ami.tools.figures.canvas import check_path

SIMPLE = """\
2026-01-02 03 | INFO | fairseq_cli.train | begin validation on "valid" subset
2026-01-02 03 | INFO | train_inner | epoch 001:    100 / 1315 loss=272.8, kl=9.5, ppl=3994.3, num_updates=100, wall=18
2026-01-02 03 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 213.7 | kl 1.967 | mi -0.2 | num_updates 100
2026-01-02 03 | INFO | train | epoch 001 | loss 240.5 | kl 1.5 | num_updates 100 | clip 53.3
2026-01-02 03 | INFO | valid | epoch 002 | valid on 'valid' subset | loss inf | kl 2.5 | mi 1e-05 | num_updates 200
"""
JSON = """\
2026-01-02 03 | INFO | train_inner | {"epoch": 1, "update": 0.03, "loss": "272.8", "kl": "9.5", "num_updates": "100"}
2026-01-02 03 | INFO | valid | {"epoch": 1, "valid_loss": "213.7", "valid_kl": "1.967", "valid_num_updates": "100"}
2026-01-02 03 | INFO | train | {"epoch": 1, "train_loss": "240.5", "train_kl": "1.5", "train_num_updates": "100"}
2026-01-02 03 | INFO | valid | {"epoch": 2, "valid_kl": "3.5", "valid_au": "7", "valid_num_updates": "200"}
2026-01-02 03 | INFO | valid | {"epoch": 2, "valid_kl": "2.5", "valid_au": "8", "valid_num_updates": "200"}
2026-01-02 03 | INFO | valid | {"epoch": 3, "valid_kl": "2
"""
PHASES = """\
2026-01-02 03 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 213.7 | num_updates 100
2026-01-02 03 | INFO | train | epoch 001 | loss 240.5 | reward_noise 1.5 | reward_forward 2 | num_updates 100
"""
HYDRA = "[2026-01-02 03][train_inner][INFO] - epoch 001:      5 / 9 loss=2.5, kl=0.8658, num_updates=5, wall=2\n"


@pytest.fixture
def logs(tmp_path):
    for name, text in (("simple", SIMPLE), ("json", JSON), ("hydra", HYDRA), ("phases", PHASES)):
        (tmp_path / f"{name}.log").write_text(text)
    return tmp_path


def points(path, kind):
    return training.read_run(str(path), kind, "run").points


def test_lines_of_the_simple_format(logs):
    assert points(logs / "simple.log", "valid") == {
        100: {"loss": 213.7, "kl": 1.967, "mi": -0.2, "num_updates": 100},
        200: {"loss": float("inf"), "kl": 2.5, "mi": 1e-5, "num_updates": 200},
    }
    assert points(logs / "simple.log", "train") == {100: {"loss": 240.5, "kl": 1.5, "num_updates": 100, "clip": 53.3}}
    inner = {"loss": 272.8, "kl": 9.5, "ppl": 3994.3, "num_updates": 100, "wall": 18}
    assert points(logs / "simple.log", "train_inner") == {100: inner}
    assert points(logs / "hydra.log", "train_inner") == {5: {"loss": 2.5, "kl": 0.8658, "num_updates": 5, "wall": 2}}


def test_lines_of_the_json_format(logs):
    """The later of two lines about an update counts; a line that was cut off does not."""
    found = points(logs / "json.log", "valid")
    assert found[100] == {"epoch": 1, "loss": 213.7, "kl": 1.967, "num_updates": 100}
    assert found[200] == {"epoch": 2, "kl": 2.5, "au": 8, "num_updates": 200}
    assert set(found) == {100, 200}
    assert points(logs / "json.log", "train")[100]["kl"] == 1.5
    assert points(logs / "json.log", "train_inner")[100]["kl"] == 9.5


def test_table_of_two_runs(logs, capsys):
    given = ["plot", "training", str(logs / "simple.log"), str(logs / "json.log"), "--metrics", "kl,au", "--table"]
    assert cli.main(given) == 0
    assert capsys.readouterr().out.splitlines() == [
        "run\tupdate\tkl\tau",
        "simple\t100\t1.967\t-",
        "simple\t200\t2.5\t-",
        "json\t100\t1.967\t-",
        "json\t200\t2.5\t8",
    ]


@pytest.mark.parametrize("ending, magic", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_figure_of_training(logs, ending, magic):
    target = logs / f"figure.{ending}"
    given = ["plot", "training", str(logs / "simple.log"), str(logs / "json.log"), "--metrics", "kl,mi,au,loss"]
    assert cli.main([*given, "--output", str(target)]) == 0
    assert target.read_bytes().startswith(magic)
    assert sorted(p.name for p in logs.iterdir()) == sorted(
        ["simple.log", "json.log", "hydra.log", "phases.log", target.name]
    )


def test_what_the_figure_shows(logs):
    runs = [training.read_run(str(logs / f"{name}.log"), "valid", name) for name in ("simple", "json")]
    figure = training.draw(runs, ["kl", "au"])
    kl, au = figure.axes
    assert [line.get_xydata().tolist() for line in kl.lines] == [[[100, 1.967], [200, 2.5]]] * 2
    assert [line.get_xydata().tolist() for line in au.lines] == [[], [[200, 8]]]
    assert (kl.get_xlabel(), kl.get_ylabel(), au.get_ylabel()) == ("updates", "KL (nats per sentence)", "active units")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["simple", "json"]


def test_a_legend_of_many_long_names_stays_inside(logs):
    runs = [training.read_run(str(logs / "simple.log"), "valid", f"a run with a long name {i}") for i in range(6)]
    figure = training.draw(runs, ["kl"])
    figure.canvas.draw()
    frame = figure.legends[0].get_window_extent()
    assert 0 <= frame.x0 and frame.x1 <= figure.bbox.width and frame.y1 <= figure.bbox.height
    assert frame.y0 >= figure.axes[0].get_window_extent().y1  # above the panel


@pytest.mark.parametrize("name", ["simple", "json"])
@pytest.mark.parametrize("kind", ["valid", "train", "train_inner"])
def test_lines_of_a_log_file_have_no_beginning(logs, name, kind):
    """fairseq-train --log-file keeps the bare messages."""
    bare = [line.split(" | ", 3)[-1] for line in (SIMPLE if name == "simple" else JSON).splitlines()]
    (logs / "bare.log").write_text("\n".join(["task: Namespace(a='b')", *bare, '{"other": "1"}']))
    assert points(logs / "bare.log", kind) == points(logs / f"{name}.log", kind)


@pytest.mark.parametrize("metric", training.AXES)
def test_names_of_axes_fit_beside_their_panels(metric):
    """A longer one would run into the legend."""
    runs = [training.Run(name, {1: {metric: -57.68}, 2: {metric: -57.62}}) for name in ("one", "two")]
    figure = training.draw(runs, [metric, metric])
    figure.canvas.draw()
    panel = figure.axes[1]
    assert panel.yaxis.label.get_window_extent().height < 1.08 * panel.get_window_extent().height


def test_principal_components_are_scikit_learn_s():
    torch.manual_seed(3)
    means = torch.randn(60, 5) * torch.tensor([0.3, 4.0, 1.0, 2.0, 0.1]) + 7
    found, reference = latent.principal_components(means), PCA(2, svd_solver="full").fit(means.double().numpy())
    np.testing.assert_allclose(found.explained.numpy(), reference.explained_variance_ratio_, rtol=1e-10)
    expected = reference.transform(means.double().numpy())
    signs = np.sign((expected * found.points.numpy()).sum(0))
    np.testing.assert_allclose(found.points.numpy() * signs, expected, atol=1e-6)  # scikit-learn centres on its own


@pytest.mark.parametrize("means", [torch.full((5, 3), 0.1), torch.zeros(1, 3), torch.zeros(4, 1)])
def test_nothing_to_project(means):
    with pytest.raises(AMIError, match="collapsed|two axes need"):
        latent.principal_components(means)


def test_colours_of_the_latent_figure():
    projection = latent.Projection(torch.randn(30, 2), torch.tensor([0.5, 0.25]))
    figure = latent.draw(projection, list(range(30)))
    assert figure.axes[0].get_xlabel() == "principal component 1 (50 % of the variance)"
    assert figure.axes[1].get_ylabel() == "sentence length (tokens)"
    figure = latent.draw(projection, ["b", "a"] * 15)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    second = figure.axes[0].collections[1].get_offsets()
    np.testing.assert_allclose(np.asarray(second), projection.points[::2].numpy())
    with pytest.raises(AMIError, match="30 different labels"):
        latent.draw(projection, [f"l{i}" for i in range(30)])


@pytest.mark.parametrize(
    "given, message",
    [
        (["{}/simple.log", "--metrics", "kl", "--output", "x.jpeg"], "the name must end with .pdf, .png, .svg"),
        (["{}/simple.log", "--metrics", "kl", "--output", "/nowhere/x.png"], "its folder does not exist"),
        (["{}/absent.log", "--metrics", "kl", "--table"], "absent.log"),
        (["{}/hydra.log", "--metrics", "kl", "--table"], "has no 'valid' lines"),
        (
            ["{}/simple.log", "--metrics", "au", "--table"],
            "no 'valid' line has the metric 'au'; there are kl, loss",
        ),
        (["{}/simple.log", "--metrics", "clip", "--table"], "but 'train' lines do: pass --kind train"),
        (["{}/simple.log", "--metrics", "wall"], "but 'train_inner' lines do: pass --kind train_inner"),
        (["{}/phases.log", "--metrics", "reward"], "but 'train' lines have reward_forward, reward_noise: pass --kind"),
        (["{}/simple.log", "--metrics", ",", "--table"], "name at least one"),
        (["{}/simple.log", "--metrics", "kl", "--name", "a", "b", "--table"], "2 names for 1 logs"),
    ],
)
def test_what_cannot_be_drawn(given, message, logs, capsys):
    assert cli.main(["plot", "training", *[part.format(logs) for part in given]]) == 2
    assert message in capsys.readouterr().err


def test_without_output_the_numbers_are_printed(logs, capsys):
    assert cli.main(["plot", "training", str(logs / "simple.log"), "--metrics", "kl"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["simple\t100\t1.967", "simple\t200\t2.5"]


def test_without_matplotlib_the_table_is_still_there(logs, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    given = ["plot", "training", str(logs / "simple.log"), "--metrics", "kl", "--table"]
    assert cli.main(given) == 0
    assert cli.main([*given, "--output", str(logs / "x.png")]) == 2
    captured = capsys.readouterr()
    assert "pip install matplotlib" in captured.err and "2.5" in captured.out


def test_files_are_checked_before_the_work(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(AMIError, match="it is a folder"):
        check_path(str(tmp_path / "folder.png"))
