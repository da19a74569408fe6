"""Options of ``fairseq-ami export``."""

import argparse

from fairseq_ami.choices import DIRECTIONS, EXPORT_FORMATS, QUANTIZATIONS, TOKENIZERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        help="checkpoint of a pair (ami_transformer, ami_lstm) or of a text VAE; with --format also of one Transformer",
    )
    parser.add_argument("out", help="FILE.pt: the checkpoint; NAME.tar.gz or a folder: with dictionaries and codes")
    parser.add_argument(
        "--format",
        choices=EXPORT_FORMATS,
        default=EXPORT_FORMATS[0],
        help="who reads the network: fairseq (default), CTranslate2 or Hugging Face transformers; the last two read "
        "folders with one Transformer",
    )
    parser.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        help="store the weights in this type (default: float32); int8 is CTranslate2's only, bfloat16 fairseq's only",
    )
    parser.add_argument("--direction", choices=DIRECTIONS, help="network of the pair to export: P(T|S) or Q(S|T)")
    parser.add_argument("--pair", action="store_true", help="export both networks and the noise, for fairseq_ami.hub")
    parser.add_argument("--data", metavar="DIR", help="folder of the dictionaries (default: the one of the training)")
    parser.add_argument("--bpe-codes", metavar="FILE", help="codes of subword-nmt, joint for both languages")
    parser.add_argument("--tokenizer", choices=TOKENIZERS, help="tokenisation of the training text, before BPE")
    parser.add_argument("--language", help="language of a text VAE's text, for --tokenizer moses (default: en)")
    parser.add_argument("--notes", metavar="FILE", help="Markdown that the card ends with: data, licence, scores")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")
