"""Figures of docs/experiments/ and of the recipe's rewards, drawn from files in folders tables/. `make figures`.

No number stands here: a table that changes changes the figure.
"""

import csv
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "docs" / "experiments" / "tables"
MULTI30K = ROOT / "examples" / "multi30k" / "tables"
GREY, ORANGE, BLUE, PURPLE, GREEN = "#777777", "#c2571a", "#1f5fbf", "#7a4fc0", "#1a7f37"
Row = Dict[str, str]
INFORMATION = "common bound (nats per sentence)"


def table(name: str, folder: Path = TABLES) -> List[Row]:
    """The rows of a file of tables/, as column -> cell."""
    with open(folder / f"{name}.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def colour_of(system: str) -> str:
    """One colour per system, the same in all figures."""
    if "maximum likelihood" in system:
        return GREY
    if system.removeprefix("+ ").startswith(("MMI", "En-De MMI")):
        return ORANGE
    return PURPLE if "no latent noise" in system or "without noise" in system else BLUE


def runs(name: str, key: Callable[[Row], str], folder: Path = TABLES) -> Iterator[Tuple[str, List[Row]]]:
    """The rows of a file of curves, run by run, in the order of the file."""
    rows = table(name, folder)
    for run in dict.fromkeys(map(key, rows)):
        yield run, [row for row in rows if key(row) == run]


def curve(
    axis: Axes, rows: Sequence[Row], x: str, y: str, label: Optional[str], colour: Optional[str] = None, **style: str
) -> None:
    """One line with a point per row that has both values."""
    points = [(float(row[x]), float(row[y])) for row in rows if row[x] and row[y]]
    axis.plot(*zip(*points), marker="o", markersize=3.5, linewidth=1.2, label=label, color=colour, **style)


def panels(columns: int, rows: int = 1, height: float = 2.7) -> Tuple[Figure, List[Axes]]:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def name(axis: Axes, x: str, y: str, title: str = "") -> None:
    axis.set(xlabel=x, ylabel=y)
    axis.set_title(title, fontsize=10)


def legend(figure: Figure, columns: int, of: int = 0) -> None:
    handles, labels = figure.axes[of].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=8)


def draw_grammar() -> Figure:
    """Quality against information: one point per run, filled for the second pair of networks."""
    figure, axes = panels(1, height=3.2)
    previous, labels = "", set()
    for pair in ("grammar", "grammar_second_pair"):
        for row in table(pair):
            previous = f"{previous}, {row['run'][10:]}" if row["run"].startswith("the same") else row["run"]
            system = previous.split(",")[0] + (", no latent noise" if "no latent noise" in previous else "")
            colour, second = colour_of(system), pair.endswith("second_pair")
            label = f"{system}, second pair" if second else system
            axes[0].plot(
                float(row["common bound"]),
                float(row["BLEU inf."]),
                "s" if second else "o",
                color=colour,
                markerfacecolor=colour if second else "none",
                linestyle="",
                label=None if label in labels else label,
            )
            labels.add(label)
    name(axes[0], INFORMATION, "BLEU, informative references")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def draw_multi30k_early() -> Figure:
    figure, axes = panels(2, 2, height=4.2)
    for run, rows in runs("multi30k_early", lambda row: f"{row['direction']}: {row['system']}"):
        direction, system = run.split(": ")
        column = ("De-En", "En-De").index(direction)
        style = {"linestyle": "--"} if "stopped" in system else {}
        colour = PURPLE if "backward phase only" in system else colour_of(system)
        for axis, metric in ((axes[column], "BLEU"), (axes[2 + column], "VIM bound")):
            curve(axis, rows, "updates", metric, system.replace(" (stopped)", ""), colour, **style)
        axes[column].set_title(f"Multi30k {direction}", fontsize=10)
    for axis, metric in ((axes[0], "validation BLEU"), (axes[2], "VIM bound (nats)")):
        axis.set_ylabel(metric)
    for axis in axes[2:]:
        axis.set_xlabel("updates")
    legend(figure, 3)
    return figure


def draw_multi30k_unseen() -> Figure:
    """chrF with the tuned length penalty, over the bound."""
    figure, axes = panels(2, height=2.8)
    for row in table("multi30k_unseen"):
        if row["bound"]:
            direction, system = row["system"].split(" ", 1)
            scores = [value for key, value in row.items() if "chrF" in key and "tuned" in key]
            axis = axes[("En-De", "De-En").index(direction)]
            axis.plot(float(row["bound"]), float(scores[0].split(" / ")[1]), "o", color=colour_of(system), label=system)
            axis.set_title(f"Multi30k {direction}", fontsize=10)
    for axis in axes:
        axis.margins(0.2)
        axis.set_xlabel("VIM bound, validation (nats per sentence)")
    axes[0].set_ylabel("chrF, tuned penalty")
    legend(figure, 3)
    return figure


def draw_dailydialog_early() -> Figure:
    figure, axes = panels(2)
    for axis, metric in zip(axes, ("average", "length")):
        for system, rows in runs("dailydialog_early", lambda row: row["system"]):
            colour = ORANGE if "weight 10" in system else colour_of(system)
            curve(axis, rows, "updates", metric, system, colour)
        name(axis, "updates", {"average": "embedding average", "length": "words per reply"}[metric])
    legend(figure, 3)
    return figure


def draw_vae_scale() -> Figure:
    """Solid: z scaled by 0.3."""
    figure, axes = panels(2, height=3.0)
    size = "paper's size, "
    for run, rows in runs("vae_curves", lambda row: row["run"]):
        if run.startswith((size + "language model", size + "VAE")):
            colour = GREY if "language" in run else ORANGE if "VAE-0.5" in run else BLUE
            style = {"linestyle": "--"} if "as it is" in run else {}
            label = run.removeprefix(size).replace(" (stopped)", "").replace(", bilinear", "")
            curve(axes[0], rows, "epoch", "-ELBO", label, colour, **style)
            if any(row["KL"] for row in rows):
                curve(axes[1], rows, "epoch", "KL", label, colour, **style)
    name(axes[0], "epoch", "-ELBO (nats per sentence)")
    name(axes[1], "epoch", "KL (nats per sentence)")
    legend(figure, 2)
    return figure


def draw_vae_lagging() -> Figure:
    figure, axes = panels(3, height=2.6)
    for size, colour in (("small", ORANGE), ("paper's size", BLUE)):
        by_run = dict(runs("vae_curves", lambda row: row["run"]))
        curve(axes[0], by_run[f"{size}, LaggingVAE, inner loops, per 1,315 updates"], "epoch", "MI", size, colour)
        joint = by_run[f"{size}, LaggingVAE, all players"]
        for axis, metric in zip(axes[1:], ("KL", "-ELBO")):
            curve(axis, joint, "epoch", metric, size, colour)
    name(axes[0], "1,315 updates each", "MI over batches of 32 (nats)", "inner loops")
    name(axes[1], "epoch of all players", "KL (nats)", "all players")
    name(axes[2], "epoch of all players", "-ELBO (nats)", "all players")
    legend(figure, 2)
    return figure


def draw_vae_words() -> Figure:
    """Price against information; the last epoch is the large point."""
    figure, axes = panels(1, height=3.2)
    start = "from a language model, "
    colours = iter((ORANGE, GREY, BLUE, GREEN))
    for run, rows in runs("vae_curves", lambda row: row["run"]):
        if run.startswith(start):
            colour = next(colours)
            curve(axes[0], rows, "KL", "-ELBO", run.removeprefix(start), colour)
            axes[0].plot(float(rows[-1]["KL"]), float(rows[-1]["-ELBO"]), "o", markersize=8, color=colour)
    name(axes[0], "KL (nats per sentence)", "-ELBO (nats per sentence)")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


REWARDS = {"maximum likelihood": GREY, "chrF": ORANGE, "BLEU": GREEN, "AMI, length-neutral": PURPLE}  # others: blue


def draw_rewards() -> Figure:
    """Validation BLEU over the forward network's updates, by reward."""
    figure, axes = panels(2, height=3.0)
    for run, rows in runs("rewards", lambda row: "\t".join((row["direction"], row["row"], row["seed"])), MULTI30K):
        direction, system, seed = run.split("\t")
        axis = axes[("En-De", "De-En").index(direction)]
        style, label = ({}, system) if seed == "1" else ({"linestyle": "--"}, None)
        curve(axis, rows, "updates of P", "validation BLEU", label, REWARDS.get(system, BLUE), **style)
    for axis, direction in zip(axes, ("En-De", "De-En")):
        name(axis, "updates of P", "validation BLEU", f"Multi30k {direction}")
    legend(figure, 3)
    return figure


def draw_rewards_test() -> Figure:
    """What each reward gains over maximum likelihood in quality, with its interval, and in information; per seed."""
    figure, axes = panels(2, height=3.2)
    labels = set()
    for row in table("rewards_test", MULTI30K):
        if not row["bound gain"]:
            continue
        gain, low, high = (float(row[f"BLEU gain{end}"]) for end in ("", ", low", ", high"))
        axes[("En-De", "De-En").index(row["direction"])].errorbar(
            float(row["bound gain"]),
            gain,
            yerr=[[gain - low], [high - gain]],
            fmt="osD"[int(row["seed"]) - 1],
            color=REWARDS.get(row["row"], BLUE),
            label=None if row["row"] in labels else row["row"],
            elinewidth=0.8,
            capsize=2,
        )
        labels.add(row["row"])
    for axis, direction in zip(axes, ("En-De", "De-En")):
        axis.plot(0, 0, "o", color=GREY, label="maximum likelihood" if direction == "En-De" else None)
        axis.axhline(0, color=GREY, linewidth=0.8)
        name(axis, "VIM bound gained (nats per sentence)", "test2016 BLEU gained", f"Multi30k {direction}")
        axis.margins(0.15)
    legend(figure, 4)
    return figure


FIGURES: Dict[str, Callable[[], Figure]] = {
    "grammar": draw_grammar,
    "multi30k_early": draw_multi30k_early,
    "multi30k_unseen": draw_multi30k_unseen,
    "rewards": draw_rewards,
    "rewards_test": draw_rewards_test,
    "dailydialog_early": draw_dailydialog_early,
    "vae_scale": draw_vae_scale,
    "vae_lagging": draw_vae_lagging,
    "vae_words": draw_vae_words,
}
