"""fairseq's training logs: reading them, and metrics over updates."""

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.figures.canvas import legend_above, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# "... | INFO | valid | ..." of fairseq-train, "[...][valid][INFO] - ..." of fairseq-hydra-train
_LINE = re.compile(r"^.*?(?:\| INFO \| (\S+) \| |\]\[(\S+)\]\[INFO\] - )(.*)$")
# the same without a beginning, as fairseq-train writes them to --log-file; in json the names of numbers tell the kind
_BARE = {
    "train_inner": re.compile(r"^epoch \d+: +\d+ / \d+ |^\{.*\"update\": .*\"num_updates\": "),
    "train": re.compile(r"^epoch \d+ \| loss |^\{.*\"train_num_updates\": "),
}
_BARE_VALID = r"^epoch \d+ \| valid on '{0}' subset \||^\{{.*\"{0}_num_updates\": "
_EQUALS = re.compile(r"(\w+)=([^,\s]+)")
_PIPES = re.compile(r"\| (\w+) ([^|\s]+)(?= \||$)")
KINDS = ("train", "train_inner", "valid")  # lines that every training log has
# what the axis says; other metrics stand under their own names
AXES = {
    "kl": "KL (nats per sentence)",
    "mi": "I(x; z) (nats)",
    "bound": "bound on I(x; z) (nats)",
    "au": "active units",
    "nll": "-ELBO (nats per sentence)",
    "reconstruction": "-log p(x|z) (nats per sentence)",
    "kl_weight": "weight of the KL term",
    "ppl": "perplexity",
    "loss": "loss (bits)",
    "nll_loss": "NLL (bits per token)",
    "vim_bound": "log Q(S|T') (nats per sentence)",
    "vim_bound_token": "log Q(S|T') (nats per token)",
    "vim_bound_common": "log Q(S|T'), common Q\n(nats per sentence)",
    "vim_bound_token_common": "log Q(S|T'), common Q\n(nats per token)",
    "bleu": "BLEU",
    "reward_forward": "reward of P (nats)",
    "reward_noise": "reward of the noise (nats)",
    "wps": "tokens per second",
    "num_updates": "updates",
}

Points = Dict[int, Dict[str, float]]  # update -> metric -> value


@dataclass(frozen=True)
class Run:
    """One log.

    Attributes:
        points: by update; where a resumed run logged an update again, the later line counts.
    """

    name: str
    points: Points

    def series(self, metric: str) -> Tuple[List[int], List[float]]:
        """Updates and values, in order of the updates; where it is absent there is no point."""
        found = sorted((update, values[metric]) for update, values in self.points.items() if metric in values)
        return [update for update, _ in found], [value for _, value in found]


def parse_line(line: str, kind: str) -> Optional[Dict[str, float]]:
    """The numbers of a log line of *kind* (``train_inner``, ``train``, or the name of a validation split), or None.

    Both ``--log-format simple`` and ``--log-format json`` are understood; json's prefix of the kind is dropped.
    """
    text = _message(line, kind)
    if text is None:
        return None
    if text.startswith("{"):
        try:
            pairs: Iterable[Tuple[str, Any]] = json.loads(text).items()
        except json.JSONDecodeError:
            return None  # cut off where the run was killed
        pairs = [(name[len(kind) + 1 :] if name.startswith(f"{kind}_") else name, value) for name, value in pairs]
    else:
        pairs = (_EQUALS if kind == "train_inner" else _PIPES).findall(text)
    numbers = {}
    for name, value in pairs:
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            continue
    return numbers


def _message(line: str, kind: str) -> Optional[str]:
    """What stands in a line of *kind* behind its beginning; None for other lines."""
    match = _LINE.match(line)
    if match is not None:
        return match[3].strip() if kind == (match[1] or match[2]) else None
    bare = _BARE.get(kind) or re.compile(_BARE_VALID.format(re.escape(kind)))
    return line.strip() if bare.match(line) else None


def read_run(path: str, kind: str, name: str) -> Run:
    """Everything that a log says about *kind*.

    Raises:
        AMIError: no such file, or no such lines in it.
    """
    points = _read_points(path, kind)
    if not points:
        raise AMIError(
            f"{path} has no {kind!r} lines with num_updates: is it what fairseq-train printed with --log-format simple "
            "or json? (--kind chooses the lines)"
        )
    return Run(name, points)


def _read_points(path: str, kind: str) -> Points:
    points: Points = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            for line in log:
                numbers = parse_line(line, kind)
                if numbers and "num_updates" in numbers:
                    points[int(numbers["num_updates"])] = numbers
    except OSError as error:
        raise AMIError(f"cannot read {path}: {error}") from error
    return points


def check_metrics(runs: Sequence[Run], metrics: Sequence[str], paths: Sequence[str], kind: str) -> None:
    """Refuse a metric that no run has.

    Args:
        runs: read with *kind*.
        metrics: names that were asked for.
        paths: the logs.
        kind: the lines that were read.

    Raises:
        AMIError: with the names that there are, or the kind of line that has the metric.
    """
    known = _names(runs)
    for metric in metrics:
        if metric not in known:
            raise AMIError(
                f"no {kind!r} line has the metric {metric!r}{_elsewhere(paths, metric, kind)}; there are "
                f"{', '.join(sorted(known - {'num_updates'}))}"
            )


def _names(runs: Sequence[Run]) -> Set[str]:
    return {name for run in runs for values in run.points.values() for name in values}


def _elsewhere(paths: Sequence[str], metric: str, read: str) -> str:
    """Which other lines have the metric, or one whose name begins with it, as the end of a sentence."""
    for kind in KINDS:
        if kind != read:
            names = sorted(_names([Run(path, _read_points(path, kind)) for path in paths]))
            if metric in names:
                return f", but {kind!r} lines do: pass --kind {kind}"
            longer = [name for name in names if name.startswith(f"{metric}_")]
            if longer:
                return f", but {kind!r} lines have {', '.join(longer)}: pass --kind {kind}"
    return ""


def table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    """Tab-separated: run, update, one column per metric; ``-`` where a line does not have it."""
    lines = ["\t".join(["run", "update", *metrics])]
    for run in runs:
        for update, values in sorted(run.points.items()):
            cells = [f"{values[metric]:g}" if metric in values else "-" for metric in metrics]
            if any(cell != "-" for cell in cells):
                lines.append("\t".join([run.name, str(update), *cells]))
    return "\n".join(lines)


def draw(runs: Sequence[Run], metrics: Sequence[str]) -> "Figure":
    """One panel per metric, one line per run.

    Raises:
        AMIError: matplotlib is not installed.
    """
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    legend_rows = math.ceil(len(runs) / 4) if len(runs) > 1 else 0
    figure = new_figure(4.0 * columns, 2.8 * rows + 0.3 * legend_rows)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, metric in zip(panels, metrics):
        for number, run in enumerate(runs):
            updates, values = run.series(metric)
            marker = "o" if len(updates) <= 25 else None
            # colours come round after ten lines: then the line's style changes
            style = ("-", "--", ":", "-.")[number // 10 % 4]
            panel.plot(updates, values, style, color=f"C{number % 10}", marker=marker, markersize=3, label=run.name)
        panel.set_xlabel("updates")
        panel.set_ylabel(AXES.get(metric, metric))
        panel.grid(alpha=0.3)
        panel.margins(x=0.02)
        if metric == "au":
            panel.yaxis.get_major_locator().set_params(integer=True)
    for panel in panels[len(metrics) :]:
        panel.remove()
    if len(runs) > 1:
        legend_above(figure, *panels[0].get_legend_handles_labels())
    return figure
