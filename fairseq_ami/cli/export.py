"""Write one network of a pair as a plain fairseq checkpoint, or what `from_pretrained` needs as a folder or archive."""

import argparse
import logging
import sys

from fairseq_ami.models.paired import DIRECTIONS
from fairseq_ami.tools.sharing.bundle import TOKENIZERS, export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint of a pair (ami_transformer, ami_lstm)")
    parser.add_argument("out", help="FILE.pt: the checkpoint; NAME.tar.gz or a folder: with dictionaries and codes")
    parser.add_argument("--direction", choices=DIRECTIONS, help="network to export: P(T|S) or Q(S|T)")
    parser.add_argument("--pair", action="store_true", help="export both networks and the noise, for fairseq_ami.hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dictionaries (default: the one of the training)")
    parser.add_argument("--bpe-codes", metavar="FILE", help="codes of subword-nmt, joint for both languages")
    parser.add_argument("--tokenizer", choices=TOKENIZERS, help="tokenisation of the training text, before BPE")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def run(args: argparse.Namespace) -> int:
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
