"""A trained Transformer in fairseq and in CTranslate2: sentences per second at one beam, and whether both say the same.

    python benchmarks/ctranslate2.py CHECKPOINT TEXT [--data DIR] [--direction forward] [--bpe-codes FILE]
        [--tokenizer moses] [--beam 5] [--sentences 1000] [--batch-size 64] [--rounds 3]

One thread each; medians of rounds in which they take turns. CPU seconds of the process are counted, which a busy
machine disturbs less than seconds of the clock. Tokenisation, BPE and loading are not counted.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

import torch

# In the place of this folder, where Python would find this file as the package ctranslate2.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from fairseq_ami.hub import any_network  # noqa: E402
from fairseq_ami.tools.formats.search import Found, Search  # noqa: E402
from fairseq_ami.tools.sharing.bundle import export  # noqa: E402
from fairseq_ami.tools.translation.ctranslate2_engine import CTranslate2Engine  # noqa: E402
from fairseq_ami.tools.translation.fairseq_engine import FairseqEngine  # noqa: E402


def engines(args: argparse.Namespace, folder: str) -> Dict[str, Any]:
    """The checkpoint in fairseq, and its conversions."""
    given = {"data": args.data, "bpe_codes": args.bpe_codes, "tokenizer": args.tokenizer}
    text: Dict[str, Any] = {"tokenizer": args.tokenizer} if args.tokenizer else {}
    if args.bpe_codes:
        text.update(bpe="subword_nmt", bpe_codes=str(Path(args.bpe_codes).resolve()))
    data = str(Path(args.data).resolve()) if args.data else "."
    interface = any_network(args.checkpoint, data_name_or_path=data, **text)
    interface.cfg.dataset.batch_size = args.batch_size
    found: Dict[str, Any] = {"fairseq": FairseqEngine(interface, args.direction)}
    for quantization in (None, "int8"):
        name = f"CTranslate2, {quantization or 'float32'}"
        out = str(Path(folder) / str(quantization))
        path = export(
            args.checkpoint, out, direction=args.direction, format="ctranslate2", quantization=quantization, **given
        )
        found[name] = CTranslate2Engine(path, threads=1, batch_size=args.batch_size)
    return found


def report(name: str, seconds: List[float], results: List[List[Found]], stock: List[List[Found]], base: float) -> str:
    same = sum(torch.equal(ours[0].tokens, theirs[0].tokens) for ours, theirs in zip(results, stock))
    error = max(abs(ours[0].score - theirs[0].score) for ours, theirs in zip(results, stock))
    median = statistics.median(seconds)
    speed = f"{len(results) / median:.0f} | {base / median:.2f}x"
    return f"| {name} | {median:.2f} | {speed} | {same} of {len(results)} | {error:.1e} |"


def main(argv: List[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("text")
    for name in ("data", "direction", "bpe-codes", "tokenizer"):
        parser.add_argument(f"--{name}")
    for name, default in {"beam": 5, "sentences": 1000, "batch-size": 64, "rounds": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines = Path(args.text).read_text(encoding="utf-8").split("\n")[: args.sentences]
    how = Search(beam=args.beam)
    with tempfile.TemporaryDirectory() as folder:
        all_engines = engines(args, folder)
        sources = [all_engines["fairseq"].encode(line) for line in lines if line.strip()]
        seconds: Dict[str, List[float]] = {name: [] for name in all_engines}
        results: Dict[str, List[List[Found]]] = {}
        for _ in range(args.rounds):
            for name, engine in all_engines.items():
                start = time.process_time()
                results[name] = engine.search(sources, how)
                seconds[name].append(time.process_time() - start)
    base = statistics.median(seconds["fairseq"])
    print("| | CPU seconds | sentences/s | ratio | same best hypothesis | largest difference of a score |")
    print("|---|---|---|---|---|---|")
    for name in all_engines:
        print(report(name, seconds[name], results[name], results["fairseq"], base))


if __name__ == "__main__":
    main(sys.argv[1:])
