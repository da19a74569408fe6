"""The front page and docs/results.md show the numbers of the examples' pages, and so do the figures."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = {"En-De": (1, 3), "De-En": (2, 4)}  # scores and bound in the table of results


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("figures_script", ROOT / "scripts" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demos_table(figures):
    page = {row[0]: row for row in figures.rows("examples/toy/README.md", "| system |")[1:]}
    for name, bleu, informative, shares, bound in figures.rows("README.md", "| system |")[1:]:
        assert [bleu, informative, shares, bound] == [page[name][i] for i in (1, 2, 3, 6)]


@pytest.mark.parametrize("direction", COLUMNS)
def test_translation(direction, figures):
    """Scores as they are, bounds to one decimal."""
    table = figures.rows("docs/results.md", "| | En-De BLEU / chrF |")
    shown = {row[0].replace(" continued", ""): row for row in table[1:]}
    scores, bound = COLUMNS[direction]
    for name, values in figures.translation_table(direction).items():
        assert shown[name][scores] == f"{values['BLEU']} / {values['chrF']}"
        assert float(shown[name][bound]) == pytest.approx(values["bound"], abs=0.05)


REWARD_TABLES = {  # page: header of its table, columns of scores, columns of the bounds gained and how they are divided
    "README.md": ("| | En-De BLEU / chrF |", (1, 2), (3, 3)),
    "docs/results.md": ("| test2016 BLEU / chrF |", (1, 2), None),
    "examples/multi30k/REWARDS.md": ("| row | reward |", (2, 4), (3, 5)),
}
REWARD_ROWS = {
    "AMI": "AMI, length-neutral",
    "sentence BLEU as the reward": "BLEU",
    "AMI and sentence BLEU": "AMI and BLEU",
}


@pytest.mark.parametrize("path", REWARD_TABLES)
def test_rewards(path, figures):
    """Means over the seeds that the row names, of the file with all runs."""
    header, scores, bounds = REWARD_TABLES[path]
    head, *runs = figures.rows("examples/multi30k/tables/rewards_test.tsv")
    for row in figures.rows(path, header)[1:]:
        name, seeds = re.fullmatch(r"(.*?) \((?:`.*`, )?(one|two) seeds?\)", row[0]).groups()
        if name == "start":
            continue
        for place, direction in enumerate(COLUMNS):
            found = [dict(zip(head, run)) for run in runs if run[:2] == [direction, REWARD_ROWS.get(name, name)]]
            if not found:
                assert row[scores[place]] == "not run"
                continue
            assert len(found) == {"one": 1, "two": 2}[seeds]

            def mean(column):
                return sum(float(run[column]) for run in found) / len(found)

            bleu, chrf = map(float, row[scores[place]].split(" / "))
            assert bleu == pytest.approx(mean("BLEU"), abs=0.0501) and chrf == pytest.approx(mean("chrF"), abs=0.0501)
            cell = row[bounds[place]].split(" / ")[place if "/" in row[bounds[place]] else 0] if bounds else ""
            if cell:
                assert float(cell) == pytest.approx(mean("bound gain"), abs=0.0501)


def test_every_point_of_the_figure_is_a_cell(figures):
    """Read by hand from the READMEs of multi30k and toy."""
    assert figures.translation_table("En-De")["AMI"] == {"BLEU": 39.2, "chrF": 64.1, "bound": -30.77}
    assert figures.demo_table()["MMI"] == {"informative": 75, "generic": 24, "wrong": 1, "bound": -2.14}
    points = [line.get_xydata().tolist()[0] for line in figures.draw_results().axes[1].lines]
    assert points == [[-32.24, 61.3], [-29.53, 61.4], [-30.09, 61.7], [-30.53, 61.8]]


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "figures").glob("*.svg")), ids=lambda path: path.stem)
def test_pictures_are_small(path):
    text = path.read_text()
    assert len(text) < 100_000 and re.search(r"<svg\b", text)


def test_dialogue_and_text_vae_tables_are_the_pages(figures):
    """Each pair of numbers of docs/results.md stands in a row of the example's page."""
    places = {1: ("personachat", "Transformer"), 2: ("personachat", "LSTM"), 3: ("dailydialog", "Transformer")}
    for row in figures.rows("docs/results.md", "| | PersonaChat, Transformer |")[1:]:
        for column, (example, _) in places.items():
            if row[column] != "not run":
                average, bleu = (float(cell) for cell in row[column].split(" / "))
                found = figures.rows(f"examples/{example}/tables/table1.tsv")[1:]
                pairs = {(round(figures.number(cells[1]), 3), figures.number(cells[7])) for cells in found}
                assert (average, bleu) in pairs, (row[0], example)


PAGES_WITH_FILES = {
    "dailydialog": {
        "| test replies |": "table1",
        "| length penalty 2 |": "table1_penalty2",
        "| Transformer |": "table2",
    },
    "personachat": {"| test replies |": "table1", "| Transformer |": "table2"},
    "multi30k": {"| En-De | own bound |": "information"},
    "ptb": {"| paper's size |": "paper_size", "| small networks |": "small"},
    "snli": {"| captions |": "flickr30k"},
}


def spelled(name):
    """The name of a row without what a page adds to it."""
    return re.sub(r"^Transformer: |^En-De |^\+ | \(.*\)$| continued$", "", name)


@pytest.mark.parametrize("example", PAGES_WITH_FILES)
def test_rows_of_pages_stand_in_their_files(example, figures):
    """Each number of a short table is a cell of the row of the same name in the wide one."""
    for header, name in PAGES_WITH_FILES[example].items():
        _, *wide = figures.rows(f"examples/{example}/tables/{name}.tsv")
        start = next((i for i, row in enumerate(wide) if row[0].startswith("Transformer")), 0)
        full = {spelled(row[0]): row for row in wide[start:] if not row[0].startswith("De-En")}
        short = figures.rows(f"examples/{example}/README.md", header)[1:]
        assert len(short) >= 5
        for row in short:
            assert set(row[1:]) <= set(full[spelled(row[0])]), (header, row)


def test_intervals_and_points_of_dialogue(figures):
    """Read by hand from the pages of dailydialog and personachat."""
    assert figures.intervals("dailydialog")["average"] == 0.0025 and figures.intervals("dailydialog")["BLEU"] == 0.2
    assert figures.intervals("personachat")["extrema"] == 0.002 and figures.intervals("personachat")["Ent-4"] == 0.05
    assert figures.dialogue_points("dailydialog")["AMI"] == {"average": 0.792, "Ent-4": 5.697, "bound": -54.03}
    assert figures.second_seed()["AMI without latent noise"] == {"average": 0.797, "Ent-4": 4.707}
    bars = [bar.get_segments() for axis in figures.draw_dialogue().axes for bar in axis.collections]
    assert any(segment[1][1] - segment[0][1] == pytest.approx(2 * 0.0025) for found in bars for segment in found)


def test_points_of_text_vaes(figures):
    """Read by hand from the page of ptb."""
    found = figures.text_vae_table()
    assert found["LSTM-LM, 12 epochs"] == {"NLL": 100.70}
    assert found["LaggingVAE"] == {"NLL": 102.33, "KL": 1.56, "IW-NLL": 101.95}
    assert found["VAE-MINE, from a language model, energy function on words, alpha 3"]["KL"] == 6.96
    assert found["VAE-MINE, pretrained parts, 5 epochs"] == {"NLL": 105.62, "KL": 9.08, "IW-NLL": 102.96}
    assert len(found) == 11 and len(figures.draw_text_vae().axes[0].lines) == 2 + 2 * 9
