"""Write one network of a pair as a plain fairseq checkpoint, or what `from_pretrained` needs as a folder or archive."""

import argparse
import logging
import sys

from fairseq_ami.plugin import register
from fairseq_ami.tools.sharing.bundle import export


def run(args: argparse.Namespace) -> int:
    register()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    written = export(
        args.checkpoint,
        args.out,
        direction=args.direction,
        pair=args.pair,
        data=args.data,
        bpe_codes=args.bpe_codes,
        tokenizer=args.tokenizer,
        overwrite=args.overwrite,
    )
    print(written)
    return 0
