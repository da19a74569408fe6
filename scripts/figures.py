"""Draws the figures of README.md from the tables of the examples' pages. `make figures`.

No number stands here: a table that changes changes the figure.
"""

import re
from pathlib import Path
from typing import Dict, List

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "figures"
COLOURS = {"maximum likelihood": "#777777", "MMI": "#c2571a", "AMI": "#1f5fbf", "AMI without latent noise": "#7a4fc0"}
MARKERS = dict(zip(COLOURS, "osD^"))


def rows(path: str, header: str) -> List[List[str]]:
    """The cells of the table whose header begins with *header*, its header first, without emphasis."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(header))
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    kept = [line for line in lines[start:end] if not re.fullmatch(r"[|\s:-]+", line)]
    return [[cell.strip().replace("*", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in kept]


def number(cell: str) -> float:
    """The first number of a cell: ``39.1 (38.9)`` is 39.1."""
    return float(re.match(r"-?[\d.]+", cell).group())  # type: ignore[union-attr]


def demo_table() -> Dict[str, Dict[str, float]]:
    """System -> shares of informative, generic and wrong outputs in percent, and the common bound."""
    head, *body = rows("examples/toy/README.md", "| system |")
    shares, bound = head.index("informative / generic / wrong %"), head.index("common Q")
    found = {}
    for row in body:
        values = [float(part) for part in row[shares].split("/")]
        found[row[0]] = {**dict(zip(("informative", "generic", "wrong"), values)), "bound": number(row[bound])}
    return found


def translation_table(direction: str) -> Dict[str, Dict[str, float]]:
    """System -> BLEU, chrF and the bound under the common Q, of Multi30k."""
    page = "examples/multi30k/README.md"
    scores = {re.sub(" continued|, boxed.*", "", row[0]): row for row in rows(page, f"| {direction} |")[1:]}
    head, *body = rows(page, "| | own bound |")
    common = head.index("common")
    bounds = {row[0].replace(f"{direction} ", "").replace(" continued", ""): row[common] for row in body}
    place = {name: rows(page, f"| {direction} |")[0].index(name) for name in ("BLEU", "chrF")}
    found = {}
    for name in COLOURS:
        found[name] = {metric: number(scores[name][column]) for metric, column in place.items()}
        found[name]["bound"] = number(bounds[name])
    return found


def draw_demo() -> Figure:
    """Shares of outputs, and the bound."""
    figure = Figure(figsize=(7.2, 2.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    table = demo_table()
    names = list(table)[::-1]
    start = [0.0] * len(names)
    for kind, colour in (("informative", "#1a7f37"), ("generic", "#c8c8c8"), ("wrong", "#b03030")):
        values = [table[name][kind] for name in names]
        left.barh(names, values, left=start, color=colour, label=kind)
        start = [a + b for a, b in zip(start, values)]
    left.set_xlabel("% of the translations")
    left.set_xlim(0, 100)
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    right.barh(names, [table[name]["bound"] for name in names], color=[COLOURS[name] for name in names])
    right.set_yticks([])
    right.set_xlabel("VIM bound (nats per sentence)")
    return figure


def draw_results() -> Figure:
    """Quality against information, one panel per direction."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    for panel, direction in zip(figure.subplots(1, 2), ("En-De", "De-En")):
        for name, point in translation_table(direction).items():
            panel.plot(
                point["bound"],
                point["chrF"],
                MARKERS[name],
                color=COLOURS[name],
                markersize=8,
                label=name,
                linestyle="",
            )
        panel.set_title(f"Multi30k {direction}", fontsize=10)
        panel.set_xlabel("VIM bound, common Q (nats per sentence)")
        panel.grid(alpha=0.3)
        panel.margins(0.15)
    figure.axes[0].set_ylabel("chrF, test2016")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def save(figure: Figure, name: str) -> Path:
    """Write an SVG that is the same for the same figure."""
    from matplotlib import rc_context

    FOLDER.mkdir(exist_ok=True)
    FigureCanvasAgg(figure)
    with rc_context({"svg.hashsalt": "fairseq_ami", "svg.fonttype": "path"}):
        figure.savefig(FOLDER / name, metadata={"Date": None}, facecolor="white")
    return FOLDER / name


if __name__ == "__main__":
    print(save(draw_demo(), "demo.svg"), save(draw_results(), "results.svg"), sep="\n")
