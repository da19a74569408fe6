"""Exports for CTranslate2 and Hugging Face transformers: which networks, and the folder around each."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from fairseq_ami.choices import DIRECTIONS, EXPORT_FORMATS, QUANTIZATIONS
from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.tools.formats import ctranslate2_writer, huggingface_writer
from fairseq_ami.tools.formats.network import load_network
from fairseq_ami.tools.formats.optional import needed
from fairseq_ami.tools.formats.record import Record, write_record
from fairseq_ami.tools.sharing.model_card import CARD, converted_card
from fairseq_ami.tools.sharing.states import is_pair, plain_state, set_text_processing, stock_state
from fairseq_ami.tools.sharing.text_files import CODES, copy_text_files, find_dictionaries, warn_about_subwords

FAIRSEQ = EXPORT_FORMATS[0]
_TYPES = {FAIRSEQ: QUANTIZATIONS[1:], ctranslate2_writer.NAME: QUANTIZATIONS[:2]}
_PACKAGES = {ctranslate2_writer.NAME: "ctranslate2", huggingface_writer.NAME: "transformers"}
_FILES = (".pt", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".zip")

Networks = Dict[Optional[str], Dict[str, Any]]  # direction in the pair, None for a single network -> plain checkpoint


@dataclass(frozen=True)
class Conversion:
    """What is asked for.

    Attributes:
        format: ``ctranslate2`` or ``huggingface``.
        quantization: type of CTranslate2's weights, or None.
        data: folder of the dictionaries.
        codes, tokenizer: subword-nmt codes, and ``moses`` or ``space``; None without.
    """

    format: str
    quantization: Optional[str]
    data: str
    codes: Optional[str]
    tokenizer: Optional[str]


def check_format(out: str, format: str, quantization: Optional[str], pair: bool) -> None:
    """What can be known before the checkpoint is read.

    Raises:
        AMIError: options that do not fit *format*, or a package that is missing.
    """
    if quantization:
        takers = [name for name, types in _TYPES.items() if quantization in types]
        if format not in takers:
            raise AMIError(f"--quantization {quantization} belongs to --format {' or '.join(takers)}")
    if format == FAIRSEQ:
        return
    if out.endswith(_FILES):
        raise AMIError(f"--format {format} writes a folder: let OUT be one, without the ending of a file")
    if pair and format == huggingface_writer.NAME:
        raise AMIError(f"--format {format} holds one network: export both with --direction, one after the other")
    needed(_PACKAGES[format], f"--format {format}")


def networks_of(
    state: Dict[str, Any], checkpoint: str, direction: Optional[str], pair: bool, data: Optional[str]
) -> Networks:
    """The plain checkpoints of the networks to convert.

    Raises:
        AMIError: a pair without a direction, a single network with one, or an unknown model.
    """
    if is_pair(state) or pair:
        if not pair and direction is None:
            raise AMIError("say which network to export: --direction forward or backward (or --pair for both)")
        return {name: plain_state(state, name, checkpoint) for name in (DIRECTIONS if pair else (str(direction),))}
    if direction is not None:
        raise AMIError(f"{checkpoint} holds one network: leave --direction out")
    return {None: stock_state(state, data, checkpoint)}


def write_converted(networks: Networks, out: str, asked: Conversion) -> None:
    """Write a folder, for a pair with a folder in it for each network; whole or not at all.

    Raises:
        AMIError: a network that the format cannot hold, or a file that is missing or does not fit.
    """
    with whole(out, parents=True) as temporary:
        name = os.path.basename(out)
        if len(networks) == 1:
            ((direction, plain),) = networks.items()
            _write_one(plain, direction, temporary, name, asked)
            return
        os.makedirs(temporary)
        for direction, plain in networks.items():
            _write_one(plain, direction, os.path.join(temporary, str(direction)), f"{name}/{direction}", asked)
        record = Record(asked.format, pair=tuple(map(str, networks)), quantization=asked.quantization)
        write_record(record, temporary)


def _write_one(plain: Dict[str, Any], direction: Optional[str], folder: str, name: str, asked: Conversion) -> None:
    """The folder of one network; *name* is what its page calls it."""
    dictionaries = find_dictionaries(plain, asked.data)
    set_text_processing(plain["cfg"], CODES if asked.codes else None, asked.tokenizer)
    warn_about_subwords(dictionaries, asked.codes)
    network = load_network(plain, dictionaries, asked.format)
    if asked.format == ctranslate2_writer.NAME:
        ctranslate2_writer.write_network(network, folder, asked.quantization)
    else:
        huggingface_writer.write_network(network, folder)
    copy_text_files(folder, dictionaries, asked.codes)
    cfg = plain["cfg"]
    languages = (cfg["task"]["source_lang"], cfg["task"]["target_lang"])
    record = Record(
        asked.format, languages, network.limits, cfg["tokenizer"], cfg["bpe"], asked.quantization, direction
    )
    Path(folder, CARD).write_text(converted_card(plain, name, record, os.listdir(folder)), encoding="utf-8")
    write_record(record, folder)
