"""Write one network of a pair for fairseq, CTranslate2 or transformers, or both as `from_pretrained` needs them."""

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
        format=args.format,
        quantization=args.quantization,
        notes=args.notes,
        language=args.language,
    )
    print(written)
    return 0
