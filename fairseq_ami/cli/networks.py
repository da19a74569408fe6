"""``fairseq-ami networks``: what the register holds, and the card of each network."""

import argparse
from pathlib import Path

from fairseq_ami.cli.texts import plain
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing.archives import unpacked
from fairseq_ami.tools.sharing.model_card import CARD
from fairseq_ami.tools.sharing.register import located, registered


def run(args: argparse.Namespace) -> int:
    networks = registered()
    if args.name is None:
        rows = [["name", "MB", "comes from", "what it is"]]
        for name, entry in sorted(networks.items()):
            rows.append([name, f"{entry.size / 1e6:.1f}", entry.url or "this package", entry.card])
        print(plain(rows))
        return 0
    if args.name not in networks:
        raise AMIError(f"there is no network {args.name} in the register: it holds {', '.join(sorted(networks))}")
    card = Path(unpacked(located(args.name)), CARD)
    if not card.is_file():
        raise AMIError(f"{args.name} has no {CARD}")
    print(card.read_text(encoding="utf-8"), end="")
    return 0
