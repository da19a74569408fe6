"""Draws the figures of the pages from their tables. `make figures`.

No number stands here: a table that changes changes the figure.
"""

import re
import sys
from pathlib import Path
from typing import Dict, List, Tuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "figures"
COLOURS = {"maximum likelihood": "#777777", "MMI": "#c2571a", "AMI": "#1f5fbf", "AMI without latent noise": "#7a4fc0"}
MARKERS = dict(zip(COLOURS, "osD^"))


def rows(path: str, header: str = "") -> List[List[str]]:
    """The cells of the table whose header begins with *header*, its header first, without emphasis; or of a .tsv."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    if path.endswith(".tsv"):
        return [line.split("\t") for line in lines]
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
    head, *body = rows("examples/multi30k/tables/information.tsv")
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


def other_runs() -> List[Tuple[float, float]]:
    """Bound and chrF of MMI in En-De, trained more than once: how far one run of a system is known."""
    head, *body = rows("docs/experiments/weight_box.md", "| En-De MMI |")
    bound, score = head.index("common bound"), head.index("chrF")
    return [(number(row[bound]), number(row[score])) for row in body[1:]]


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
    open_marker = {"markerfacecolor": "none", "color": COLOURS["MMI"], "linestyle": ""}
    figure.axes[0].plot(*zip(*other_runs()), MARKERS["MMI"], label="MMI, repeated", **open_marker)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return figure


def intervals(example: str) -> Dict[str, float]:
    """Half of the 95 % interval of each metric, as the example's page states it: ``about .0025 for average``."""
    page = (ROOT / "examples" / example / "README.md").read_text(encoding="utf-8")
    (stated,) = re.findall(r"\(bootstrap over replies\) are about (.+), to either side\.$", page, re.MULTILINE)
    found = {}
    for value, names in re.findall(r"(\.\d+) for (.+?)(?=, \.\d|$)", stated):
        found.update(dict.fromkeys(re.split(r", | and ", names), float(value)))
    return found


def dialogue_points(example: str) -> Dict[str, Dict[str, float]]:
    """System (Transformer, seed 1) -> embedding average, Ent-4 and the common bound."""
    folder = f"examples/{example}/tables"
    head, *body = rows(f"{folder}/table1.tsv")
    start = next(i for i, row in enumerate(body) if row[0].startswith("Transformer"))
    scores = {row[0].removeprefix("Transformer: ").removeprefix("+ "): row for row in body[start:]}
    head_of_bounds, *bounds = rows(f"{folder}/table2.tsv")
    start = next(i for i, row in enumerate(bounds) if row[0].startswith("Transformer"))
    common = head_of_bounds.index("common Q")
    bound = {row[0].removeprefix("Transformer: ").removeprefix("+ "): number(row[common]) for row in bounds[start:]}
    found = {}
    for name in COLOURS:
        row = scores[name.replace("latent ", "")]
        found[name] = {metric: number(row[head.index(metric)]) for metric in ("average", "Ent-4")}
        found[name]["bound"] = bound[name.replace("latent ", "")]
    return found


def second_seed() -> Dict[str, Dict[str, float]]:
    """DailyDialog, Transformer, seed 2, the search's default length penalty."""
    head, *body = rows("examples/dailydialog/tables/table1_seed2.tsv")
    at = {row[0]: row for row in body if row[1] == "1"}
    metrics = ("average", "Ent-4")
    return {name: {metric: number(at[name.replace("latent ", "")][head.index(metric)]) for metric in metrics}
            for name in COLOURS}  # fmt: skip


def draw_dialogue() -> Figure:
    """Relevance against information and against diversity, with 95 % intervals; one point per system and seed."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes = figure.subplots(1, 3)
    plots = (("personachat", "bound"), ("dailydialog", "bound"), ("dailydialog", "Ent-4"))
    for axis, (example, x) in zip(axes, plots):
        half = intervals(example)
        seeds = [dialogue_points(example)] + ([second_seed()] if x == "Ent-4" else [])
        for seed, points in enumerate(seeds, 1):
            for name, point in points.items():
                axis.errorbar(
                    point[x], point["average"], yerr=half["average"], xerr=half.get(x),
                    fmt=MARKERS[name], color=COLOURS[name], markerfacecolor="none" if seed == 2 else COLOURS[name],
                    label=name if seed == 1 else f"{name}, seed 2", markersize=6, capsize=2, linewidth=1,
                )  # fmt: skip
        axis.set_title({"personachat": "PersonaChat", "dailydialog": "DailyDialog"}[example], fontsize=10)
        axis.set_xlabel({"bound": "VIM bound, common Q", "Ent-4": "Ent-4 (open: seed 2)"}[x])
        axis.grid(alpha=0.3)
        axis.margins(0.15)
    axes[0].set_ylabel("embedding average")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def text_vae_table() -> Dict[str, Dict[str, float]]:
    """Model -> NLL, KL and IW-NLL on Penn Treebank at the paper's size; a language model has NLL alone."""
    head, *body = rows("examples/ptb/tables/paper_size.tsv")
    columns = {name: head.index(name) for name in ("NLL", "KL", "IW-NLL")}
    found, whole = {}, ""
    for row in body:
        whole = f"{whole.split(', alpha')[0]}, {row[0].removeprefix('the same, ')}" if "the same" in row[0] else row[0]
        name = re.sub(r", energy function on words(?=.*energy)| \(.*\)|decoder ", "", whole)
        found[name] = {key: number(row[column]) for key, column in columns.items() if row[column] != "-"}
    return found


def draw_text_vae() -> Figure:
    """The price of information: filled points are -ELBO, open ones the importance-weighted NLL."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axis = figure.subplots()
    markers = iter("svDo^P*X<>hdp")
    for name, values in text_vae_table().items():
        if "KL" in values:
            (point,) = axis.plot(values["KL"], values["NLL"], next(markers), markersize=7, linestyle="", label=name)
            style = {"color": point.get_color(), "markerfacecolor": "none", "linestyle": ""}
            axis.plot(values["KL"], values["IW-NLL"], point.get_marker(), markersize=7, **style)
        else:
            axis.axhline(
                values["NLL"], color="#777777", linewidth=1, linestyle="--" if "12" in name else "-", label=name
            )
    axis.set_xlabel("KL (nats per sentence)")
    axis.set_ylabel("NLL, test (nats per sentence)")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure


def save(figure: Figure, name: str) -> Path:
    """Write an SVG that is the same for the same figure."""
    from matplotlib import rc_context

    FOLDER.mkdir(exist_ok=True)
    FigureCanvasAgg(figure)
    with rc_context({"svg.hashsalt": "fairseq_ami", "svg.fonttype": "path"}):
        figure.savefig(FOLDER / name, metadata={"Date": None}, facecolor="white")
    return FOLDER / name


def main() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    from experiment_figures import FIGURES

    drawn = {
        "demo": draw_demo,
        "results": draw_results,
        "dialogue": draw_dialogue,
        "text_vae": draw_text_vae,
        **FIGURES,
    }
    for name, draw in drawn.items():
        print(save(draw(), f"{name}.svg"))


if __name__ == "__main__":
    main()
