"""The demo's table, samples and figure, read from what the commands wrote."""

import json
import logging
from pathlib import Path
from typing import Dict, List, Tuple

import sacrebleu
from analysis import references, shares

from fairseq_ami.metrics.diversity import distinct_n


def decoded(folder: Path) -> Tuple[List[str], List[str], List[str]]:
    """Sources, references and 1-best outputs of a fairseq-generate result file, in the order of the data."""
    columns: Dict[str, Dict[int, str]] = {"S": {}, "T": {}, "H": {}}
    for line in (folder / "generate-test.txt").read_text().splitlines():
        kind, _, rest = line.partition("-")
        if kind in columns:
            number, *fields = rest.split("\t")
            columns[kind].setdefault(int(number), fields[-1])
    order = sorted(columns["S"])
    return tuple([columns[kind].get(i, "") for i in order] for kind in "STH")  # type: ignore[return-value]


def results(work: Path, titles: Dict[str, str]) -> str:
    """Table of the systems, and a few translations of each."""
    bounds = json.loads((work / "bound.json").read_text())
    header = ["system", "BLEU", "BLEU inf.", "inf. %", "generic %", "wrong %", "Dist-2", "VIM bound", "common Q", "gap",
              "gap frozen"]  # fmt: skip
    rows, outputs, signature = [header], {}, ""
    for name, title in titles.items():
        sources, targets, hypotheses = decoded(work / name)
        metric = sacrebleu.BLEU(tokenize="none", force=True)
        plain = metric.corpus_score(hypotheses, [targets])
        signature = str(metric.get_signature())
        share = shares(sources, hypotheses)
        informative = informative_bleu(sources, hypotheses)
        b = bounds[name]
        rows.append(
            [title, f"{plain.score:.1f}", f"{informative:.1f}"]
            + [f"{100 * share[kind]:.0f}" for kind in ("informative", "generic", "wrong")]
            + [f"{distinct_n(hypotheses, 2):.3f}", f"{b['bound']:.2f}", f"{b['bound_common']:.2f}"]
            + [f"{b['gap']:.3f}", f"{b['gap_frozen']:.3f}"]
        )
        outputs[title] = hypotheses
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["", *("  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows), ""]
    lines += [
        f"BLEU: sacreBLEU {signature}, one reference drawn like the training data; 'inf.' against informative ones.",
        "inf./generic/wrong: exact judgement by the grammar. VIM bound, gap: nats a sentence and a token of the",
        "source, own Q; common Q and frozen samples are those of maximum likelihood.",
        "",
    ]
    return "\n".join(lines + samples(sources, outputs))


def informative_bleu(sources: List[str], hypotheses: List[str]) -> float:
    """BLEU against up to 50 fully informative references a source."""
    lists = [references(source) for source in sources]
    longest = max(map(len, lists))
    columns = [[refs[i] if i < len(refs) else None for refs in lists] for i in range(longest)]
    return sacrebleu.corpus_bleu(hypotheses, columns, tokenize="none", force=True).score


def samples(sources: List[str], outputs: Dict[str, List[str]], count: int = 4) -> List[str]:
    """The first sources on which the systems differ."""
    differing = [i for i in range(len(sources)) if len({texts[i] for texts in outputs.values()}) > 1]
    lines = []
    for i in differing[:count]:
        lines.append(f"{'source':20s}{sources[i]}")
        lines += [f"{title:20s}{texts[i]}" for title, texts in outputs.items()] + [""]
    return lines


def curve(log: Path, key: str) -> Tuple[List[int], List[float]]:
    """(updates, values) of a validation metric in a JSON training log."""
    points = {}
    for line in log.read_text().splitlines():
        if "| valid |" in line:
            stats = json.loads(line.split("|", 3)[3])
            if stats.get(key) is not None:
                points[int(stats["valid_num_updates"])] = float(stats[key])
    return sorted(points), [points[update] for update in sorted(points)]


def figure(work: Path, titles: Dict[str, str]) -> Path:
    """VIM bound over updates (the paper's figure 3), under the own and the frozen common Q."""
    logging.disable(logging.INFO)  # importing fairseq sets the root logger to DEBUG
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {"valid_vim_bound": "own Q", "valid_vim_bound_common": "common Q", "valid_nll_gap": "gap, own samples"}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.2), constrained_layout=True)
    for axis, (key, title) in zip(axes, panels.items()):
        for name, label in titles.items():
            axis.plot(*curve(work / f"{name}.log", key), marker=".", label=label)
        axis.set(title=title, xlabel="updates", ylabel="nats a token" if "gap" in key else "nats a sentence")
    axes[0].legend()
    path = work / "bound.png"
    figure.savefig(path, dpi=120)
    return path
