"""Samples to look at: when they are shown, where, and what a resume does with them."""

import json
import logging
from types import SimpleNamespace

import pytest
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import progress_bar

from fairseq_ami.errors import AMIError
from fairseq_ami.training.sample_log import SampleLog, as_text

ROW = {
    "id": 7,
    "source": "the house",
    "reference": "das Haus",
    "samples": [
        {"text": "das Haus", "reward": 1.0, "chrf": 1.0, "advantage": 0.25},
        {"text": "ein \u00dc", "reward": 0.1234, "chrf": 0.1234, "advantage": -0.25},
    ],
}
CYCLE = ["noise", "forward", "backward", "backward"]  # no rewards in backward updates


class Writer:
    """TensorBoard's."""

    def __init__(self):
        self.texts = []

    def add_text(self, tag, text, step):
        self.texts.append((tag, text, step))


@pytest.fixture(autouse=True)
def writers(monkeypatch):
    found = {}
    monkeypatch.setattr(progress_bar, "_tensorboard_writers", found)
    monkeypatch.setattr(progress_bar, "wandb", None)
    return found


def play(log, updates):
    """As a run does, two micro-batches per update."""
    for update in updates:
        phase = CYCLE[update % 4]
        for _ in range(2):
            rows = log.collect(update)
            if rows is not None and phase != "backward":
                rows.append({**ROW, "id": update})
            log.flush(phase)


def lines(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def test_when_they_are_shown(tmp_path):
    """Every third update with a reward, or the next one that has some; once per update."""
    play(SampleLog(3, str(tmp_path)), range(20))
    # multiples of 3 are 0, 3 (backward: 4), 6 (backward: 8), 9, 12, 15 (backward: 16), 18 (backward)
    assert [row["update"] for row in lines(tmp_path)] == [0, 4, 8, 9, 12, 16]


def test_the_file(tmp_path):
    """A row says which update and phase it is of, and is what was told, letters of any language as they are."""
    play(SampleLog(1, str(tmp_path / "new" / "folder")), range(2))
    assert lines(tmp_path / "new" / "folder") == [
        {"update": 0, "phase": "noise", **ROW, "id": 0},
        {"update": 1, "phase": "forward", **ROW, "id": 1},
    ]
    assert "\u00dc" in (tmp_path / "new" / "folder" / "samples.jsonl").read_text(encoding="utf-8")


def test_the_log(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        play(SampleLog(1, str(tmp_path)), [1])
    assert "samples of update 1 (forward):\nsource     the house\nreference  das Haus\n" in caplog.text
    assert "sample     ein \u00dc   [reward 0.123  chrf 0.123  advantage -0.250]" in caplog.text


def test_text_without_a_reference():
    assert as_text({**ROW, "reference": None, "samples": ROW["samples"][:1]}) == (
        "source     the house\nsample     das Haus   [reward 1.000  chrf 1.000  advantage 0.250]"
    )


def test_tensorboard(tmp_path, writers):
    """In the tab of the run's training; what is shown before its first scalars waits for them."""
    log = SampleLog(4, str(tmp_path))
    play(log, range(3))
    writers.update(valid=Writer(), train_inner=Writer())
    play(log, range(3, 6))
    tags = [(tag, step) for tag, _, step in writers["train_inner"].texts]
    assert tags == [("samples_noise", 0), ("samples_noise", 4)] and not writers["valid"].texts
    text = writers["train_inner"].texts[0][1]
    assert text.split("  \n")[:2] == ["source     the house", "reference  das Haus"]  # Markdown's line ends


def test_without_tensorboard_little_is_kept(tmp_path):
    log = SampleLog(1, str(tmp_path))
    play(log, range(0, 400, 4))
    assert len(log._texts) < 50


@pytest.mark.parametrize("running", [False, True])
def test_weights_and_biases(tmp_path, monkeypatch, running):
    """A page per showing, at its update, with nothing that a browser would take for a tag; only where a run is on."""
    shown = []
    package = SimpleNamespace(run=object() if running else None, Html=lambda text: ("page", text))
    package.log = lambda what, step: shown.append((what, step))
    monkeypatch.setattr(progress_bar, "wandb", package)
    log = SampleLog(4, str(tmp_path))
    rows = log.collect(0)
    rows.append({**ROW, "source": "a <unk> & more"})
    log.flush("noise")
    play(log, range(1, 6))
    assert [(list(what), step) for what, step in shown] == running * [(["samples_noise"], 0), (["samples_noise"], 4)]
    if running:
        kind, text = shown[0][0]["samples_noise"]
        assert kind == "page" and text.startswith("<pre>source     a &lt;unk&gt; &amp; more\nreference  das Haus\n")


@pytest.mark.parametrize("stopped", [2, 5, 8, 9, 13])
@pytest.mark.parametrize("ahead", [0, 4])
def test_a_resumed_run_leaves_the_same_file(stopped, ahead, tmp_path):
    """Updates behind its checkpoint come again; a line that a kill has cut is no row."""
    for name in ("straight", "broken"):
        (tmp_path / name).mkdir()
    play(SampleLog(3, str(tmp_path / "straight")), range(20))
    play(SampleLog(3, str(tmp_path / "broken")), range(stopped + ahead))
    with open(tmp_path / "broken" / "samples.jsonl", "a") as file:
        file.write('{"update": 14, "phase": "for')
    play(SampleLog(3, str(tmp_path / "broken")), range(stopped, 20))
    assert (tmp_path / "straight" / "samples.jsonl").read_bytes() == (
        tmp_path / "broken" / "samples.jsonl"
    ).read_bytes()


def test_a_resumed_run_drops_later_lines_at_once(tmp_path):
    play(SampleLog(3, str(tmp_path)), range(10))
    SampleLog(3, str(tmp_path)).collect(6)
    assert [row["update"] for row in lines(tmp_path)] == [0, 4]
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_new_run_begins_a_new_file(tmp_path):
    play(SampleLog(1, str(tmp_path)), range(6))
    play(SampleLog(1, str(tmp_path)), range(1))
    assert [row["update"] for row in lines(tmp_path)] == [0]


def test_only_the_first_worker_shows_them(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed_utils, "get_global_rank", lambda: 1)
    log = SampleLog(1, str(tmp_path))
    assert log.collect(0) is None
    play(log, range(8))
    assert not list(tmp_path.iterdir())


def test_switched_off(tmp_path):
    (tmp_path / "samples.jsonl").write_text("of an earlier run\n")
    play(SampleLog(0, str(tmp_path)), range(8))
    assert (tmp_path / "samples.jsonl").read_text() == "of an earlier run\n"


@pytest.mark.parametrize("text", ["no JSON\n", "[1]\n", '{"id": 3}\n', '{"update": "x"}\n'])
def test_a_file_of_another_program(text, tmp_path):
    """It is left as it is."""
    (tmp_path / "samples.jsonl").write_text(text)
    with pytest.raises(AMIError, match="samples.jsonl was not written by this option .*: move it away"):
        SampleLog(1, str(tmp_path)).collect(0)
    assert (tmp_path / "samples.jsonl").read_text() == text


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(AMIError, match="--log-samples cannot write"):
        play(SampleLog(1, str(tmp_path / "taken" / "folder")), [1])


def test_a_negative_interval(tmp_path):
    with pytest.raises(AMIError, match="must not be negative"):
        SampleLog(-1, str(tmp_path))
