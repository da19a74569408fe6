"""Options of ``fairseq-ami export``."""

import argparse

from fairseq_ami.choices import DIRECTIONS, TOKENIZERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="checkpoint of a pair (ami_transformer, ami_lstm)")
    parser.add_argument("out", help="FILE.pt: the checkpoint; NAME.tar.gz or a folder: with dictionaries and codes")
    parser.add_argument("--direction", choices=DIRECTIONS, help="network to export: P(T|S) or Q(S|T)")
    parser.add_argument("--pair", action="store_true", help="export both networks and the noise, for fairseq_ami.hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dictionaries (default: the one of the training)")
    parser.add_argument("--bpe-codes", metavar="FILE", help="codes of subword-nmt, joint for both languages")
    parser.add_argument("--tokenizer", choices=TOKENIZERS, help="tokenisation of the training text, before BPE")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
