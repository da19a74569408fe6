"""The table of a recipe: what `fairseq-ami vae-eval` measured, beside the published figures."""

import argparse
import csv
import json
from pathlib import Path
from typing import Any, Dict, List

from fairseq_ami.files import write_text

TITLES = {
    "lstm-lm": "LSTM-LM", "vae": "VAE-0.5", "vae-bow": "VAE-BOW", "infovae": "InfoVAE", "cyclical": "CyclicalVAE",
    "lagging": "LaggingVAE", "vae-mine": "VAE-MINE",
}  # fmt: skip
DECODINGS = ("greedy", "sampled")
# key in vae-eval's JSON -> title
OURS = {
    "nll": "NLL", "kl": "KL", "ppl": "PPL", "iw_nll": "IW-NLL", "mi_batch": "MI/32", "mi": "MI/all",
    "marginal_kl": "KL(q(z)\\|p)", "tangent": "bound", "active_units": "AU",
}  # fmt: skip


def shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{round(value, 2) + 0.0:.2f}" if isinstance(value, float) else str(value)  # never -0.00


def perplexity(result: Dict[str, Any], decoding: str, name: str) -> str:
    """``*``: with KenLM's fall-back discounts, not comparable; ``-``: not measured."""
    for entry in result["generated"]:
        if entry["decoding"] == decoding and entry[name] is not None:
            return shown(entry[name]["including_oov"]) + ("*" if name in entry["remarks"] else "")
    return "-"


def cells(result: Dict[str, Any]) -> List[str]:
    text = [perplexity(result, decoding, name) for decoding in DECODINGS for name in ("fppl", "rppl")]
    return [shown(result[key]) for key in OURS] + text


def markdown(header: List[str], rows: List[List[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def table(published: List[Dict[str, str]], results: Dict[str, Dict[str, Any]]) -> str:
    """Two tables: ours, a row not run said to be so, and the paper's."""
    header = ["", *OURS.values(), *(f"{name} {decoding}" for decoding in DECODINGS for name in ("FPPL", "RPPL"))]
    absent = ["not run"] * (len(header) - 1)
    rows = [line["row"] for line in published]
    ours = [[TITLES[row], *(cells(results[row]) if row in results else absent)] for row in rows]
    theirs = [[TITLES[line["row"]], *list(line.values())[1:]] for line in published]
    names = [key.upper() for key in list(published[0])[1:]]
    return f"Obtained:\n\n{markdown(header, ours)}\nPublished (VAE-MINE, table 2):\n\n{markdown(['', *names], theirs)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder of ROW.json")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    published = list(csv.DictReader(args.published.open(), delimiter="\t"))
    results = {path.stem: json.loads(path.read_text())["results"][0] for path in sorted(args.results.glob("*.json"))}
    text = table(published, results)
    write_text(args.output, text)
    print(text)


if __name__ == "__main__":
    main()
