"""``fairseq-ami reward-ceiling``: which of a source's samples each reward would pick, and how good they are."""

import argparse
import json
from typing import Any, Dict, List, Optional, Tuple

from sacrebleu.metrics import BLEU

import fairseq_ami
from fairseq_ami.cli.messages import progress_bar, show_progress
from fairseq_ami.cli.texts import plain
from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, write_text
from fairseq_ami.plugin import register
from fairseq_ami.tools.ceiling.drawing import Drawer, Drawing, Told
from fairseq_ami.tools.ceiling.expressions import check_networks, names_of, parse_expressions, usual
from fairseq_ami.tools.ceiling.networks import SearchSettings, load_players
from fairseq_ami.tools.ceiling.table import LENGTHS, Row, Table, picks, table

HEADER = ["T", "picked by", "length", "rho BLEU", "rho chrF", "left out", "BLEU", "length ratio"]
FORMATS = (".tsv", ".json")


def run(args: argparse.Namespace) -> int:
    check_arguments(args)
    expressions = parse_expressions(args.reward) if args.reward else {}
    register()
    show_progress("WARNING")
    how, drawing, tokenize = _search(args), _drawing(args), _tokenize(args)
    lengths = LENGTHS if args.reward_length == "both" else (args.reward_length,)
    found: List[Table] = []
    for path in args.checkpoints:
        players = load_players(path, args.backward, args.data, (args.source_lang, args.target_lang), how)
        asked = expressions or usual(players.pair)
        check_networks(asked, players.pair, path)
        drawer = Drawer(players, names_of(asked), drawing)
        for subset in args.subset.split(","):
            told = drawer(subset, args.sources, args.random_sources, progress_bar)
            found.append(table(path, subset, told, asked, lengths, tokenize))
            print(report(args, found[-1], told), end="\n\n", flush=True)
            if args.picks:
                write_picks(
                    args, told, next(iter(asked.values())), (players.task.cfg.source_lang, players.task.cfg.target_lang)
                )
    text = "detokenised text" if args.tokenizer else "tokens without subwords"
    print(f"BLEU and chrF of {text}; sacreBLEU {found[0].signature}; seed {args.seed}")
    if args.output:
        write_text(args.output, written(args, found))
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """What can be known before anything is loaded.

    Raises:
        AMIError: a file that cannot be written, or settings that cannot work.
    """
    check_writable(args.output)
    if args.output and not args.output.endswith(FORMATS):
        raise AMIError(f"--output {args.output} must end with {' or '.join(FORMATS)}")
    if args.bleu_tokenize is not None and args.bleu_tokenize not in BLEU.TOKENIZERS:
        raise AMIError(f"--bleu-tokenize {args.bleu_tokenize}: choose from {', '.join(sorted(BLEU.TOKENIZERS))}")
    _check_picks(args)
    if args.topp > 1:
        raise AMIError(f"--topp must lie in (0, 1], not {args.topp}")


def _check_picks(args: argparse.Namespace) -> None:
    if not args.picks:
        return
    check_writable(f"{args.picks}.SOURCE")
    single = {
        "checkpoint": len(args.checkpoints) == 1,
        "--subset": "," not in args.subset,
        "--reward": args.reward is not None and len(args.reward) == 1,
        "--temperature": len(args.temperature) == 1,
        "--reward-length": args.reward_length != "both",
    }
    several = [name for name, holds in single.items() if not holds]
    if several:
        raise AMIError(f"--picks writes one sample per source: give one value, and no more, of {', '.join(several)}")


def write_picks(args: argparse.Namespace, told: Told, weights: Dict[str, float], languages: Tuple[str, str]) -> None:
    """Each source and what the reward picks of its samples, with subwords: ``PREFIX.SOURCE``, ``PREFIX.TARGET``."""
    chosen = picks(told.drawn[args.temperature[0]], weights, args.reward_length, args.seed)
    for language, lines in zip(languages, (told.sources, chosen)):
        write_text(f"{args.picks}.{language}", "".join(line + "\n" for line in lines))
    print(f"picks: {args.picks}.{languages[0]}, {args.picks}.{languages[1]}")


def _tokenize(args: argparse.Namespace) -> str:
    return args.bleu_tokenize or ("13a" if args.tokenizer else "none")


def _search(args: argparse.Namespace) -> SearchSettings:
    return SearchSettings(args.beam, args.lenpen, args.seed, args.cpu, args.tokenizer)


def _drawing(args: argparse.Namespace) -> Drawing:
    return Drawing(
        args.samples, tuple(dict.fromkeys(args.temperature)), args.topk, args.topp, args.reward_per,
        args.center_cosine, args.multiplier_similarity, args.reward_post_process or None, args.max_tokens, args.seed,
    )  # fmt: skip


# ---------------------------------------------------------------------- results


def report(args: argparse.Namespace, found: Table, told: Told) -> str:
    """What is printed of one checkpoint and one subset."""
    first, more = found.rows[0], f"; {told.too_long} are too long for the networks" if told.too_long else ""
    which = "chosen at random" if args.random_sources else "the first ones"
    lines = [f"{first.checkpoint}, {first.subset}: {first.sources} of {told.size} sources, {which}{more}"]
    lines.append(f"{args.samples} samples per source; log-q and log-p per {args.reward_per}")
    return "\n".join([*lines, plain([HEADER, *(_cells(row) for row in found.rows)])])


def _cells(row: Row) -> List[str]:
    temperature = "-" if row.temperature is None else f"{row.temperature:g}"
    rho = [_number(value, "{:.2f}") for value in (row.rho_bleu, row.rho_chrf)]
    left_out = "-" if row.left_out_bleu is None else str(row.left_out_bleu)
    picks = [f"{row.bleu:.1f}", f"{row.length_ratio:.3f}"]
    return [temperature, row.picked_by, row.reward_length or "-", *rho, left_out, *picks]


def _number(value: Optional[float], form: str) -> str:
    return "-" if value is None else form.format(value)


def written(args: argparse.Namespace, found: List[Table]) -> str:
    """The whole table for ``--output``."""
    rows = [row.as_dict() for part in found for row in part.rows]
    if args.output.endswith(".tsv"):
        cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
        return "".join("\t".join(line) + "\n" for line in [list(rows[0]), *cells])
    return json.dumps({**_settings(args), "signature": found[0].signature, "rows": rows}, indent=2) + "\n"


def _settings(args: argparse.Namespace) -> Dict[str, Any]:
    names: Tuple[str, ...] = (
        "backward", "data", "random_sources", "topk", "topp", "seed", "reward_per", "center_cosine",
        "multiplier_similarity", "reward_post_process", "tokenizer", "beam", "lenpen",
    )  # fmt: skip
    return {"version": fairseq_ami.__version__, "settings": {name: getattr(args, name) for name in names}}
