"""Self-contained folders and archives of an exported checkpoint, written whole or not at all."""

import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.tools.formats.record import files_in, format_of, read_record
from fairseq_ami.tools.sharing.converted import FAIRSEQ, Conversion, check_format, networks_of, write_converted
from fairseq_ami.tools.sharing.model_card import CARD, model_card, read_notes
from fairseq_ami.tools.sharing.plain import in_half_precision
from fairseq_ami.tools.sharing.states import pair_state, plain_state, set_text_processing, text_processing_of
from fairseq_ami.tools.sharing.text_files import (
    CODES,
    check_codes,
    copy_text_files,
    find_dictionaries,
    warn_about_subwords,
)
from fairseq_ami.tools.sharing.vae_states import find_dictionary, is_text_vae, text_vae_state

MODEL = "model.pt"
ARCHIVE = ".tar.gz"


def export(
    checkpoint: str,
    out: str,
    direction: Optional[str] = None,
    pair: bool = False,
    data: Optional[str] = None,
    bpe_codes: Optional[str] = None,
    tokenizer: Optional[str] = None,
    overwrite: bool = False,
    format: str = "fairseq",
    quantization: Optional[str] = None,
    notes: Optional[str] = None,
    language: Optional[str] = None,
) -> str:
    """Write one network of a pair, the pair, or a text VAE, as a file (``.pt``), ``.tar.gz`` or folder; the path.

    Args:
        checkpoint, out: of a pair or a text VAE, or an exported folder; what to write, in the form that its ending
            says.
        direction: ``forward`` or ``backward``; None with *pair* and of a text VAE.
        pair: write both networks and the noise network, for the interface of ``fairseq_ami.hub``.
        data: folder with the dictionaries (default: the one that the checkpoint was trained on).
        bpe_codes, tokenizer: subword-nmt codes; ``moses`` or ``space``: to go into the folder.
        overwrite: replace an earlier export.
        format: ``fairseq``, ``ctranslate2`` or ``huggingface``; the last two make a folder, and take a checkpoint of a
            single Transformer as well.
        quantization: type of the weights, ``float16``, ``bfloat16`` or for CTranslate2 ``int8``; None keeps float32.
        notes: file in Markdown that the card ends with; None without.
        language: of a text VAE's text, for ``moses``; None is English.

    Raises:
        AMIError: *out* exists, the checkpoint is of something else, a file is missing or does not fit, or *format*
            cannot hold the network.
    """
    out = out.rstrip("/") or out
    checkpoint = os.path.join(checkpoint, MODEL) if os.path.isdir(checkpoint) else checkpoint
    check_format(out, format, quantization, pair)
    _check_out(out, bool(bpe_codes or tokenizer or notes))
    _check_target(out, overwrite)
    if bpe_codes:
        check_codes(bpe_codes)
    ending = read_notes(notes)
    state = read_checkpoint(checkpoint, "checkpoint to export", lazily=True)
    if language and not (is_text_vae(state) and tokenizer):
        raise AMIError("--language is for --tokenizer and a text VAE: a pair knows its languages")
    if format == FAIRSEQ or pair:
        _check_request(is_text_vae(state), direction, pair, bool(bpe_codes))
    folder = data or _data_of(state, checkpoint)
    if format != FAIRSEQ:
        if notes:
            raise AMIError(f"--notes belongs to --format {FAIRSEQ}")
        if not (bpe_codes or tokenizer):
            bpe_codes, tokenizer = text_processing_of(state, checkpoint)
        networks = networks_of(state, checkpoint, direction, pair, folder)
        write_converted(networks, out, Conversion(format, quantization, folder, bpe_codes, tokenizer))
        return out
    plain, dictionaries = _plain(state, checkpoint, direction, pair, None if out.endswith(".pt") else folder)
    if quantization:
        plain["model"] = in_half_precision(plain["model"], quantization)
    if dictionaries:
        set_text_processing(plain["cfg"], CODES if bpe_codes else None, tokenizer, language or "en")
        warn_about_subwords(dictionaries, bpe_codes)
    with whole(out, parents=True) as temporary:
        if out.endswith(".pt"):
            torch.save(plain, temporary)
        else:
            _write(plain, temporary, out, dictionaries, bpe_codes, ending)
    return out


def _data_of(state: Dict[str, Any], checkpoint: str) -> str:
    """The folder with the dictionaries: of the training, or beside an exported checkpoint."""
    folder = str(part_of(state, "task").get("data") or ".")
    return (os.path.dirname(checkpoint) or ".") if folder == "." else folder


def _plain(
    state: Dict[str, Any], checkpoint: str, direction: Optional[str], pair: bool, folder: Optional[str]
) -> Tuple[Dict[str, Any], List[Path]]:
    """What is written, and its dictionaries; none without the folder where they lie."""
    if is_text_vae(state):
        plain = text_vae_state(state, checkpoint)
        return plain, find_dictionary(plain, folder) if folder else []
    plain = pair_state(state, checkpoint) if pair else plain_state(state, str(direction), checkpoint)
    return plain, find_dictionaries(plain, folder) if folder else []


def _check_request(text_vae: bool, direction: Optional[str], pair: bool, codes: bool) -> None:
    if text_vae:
        for option, given in (("--pair", pair), ("--direction", direction), ("--bpe-codes", codes)):
            if given:
                raise AMIError(f"{option} is for pairs of networks, and this is a text VAE: leave it out")
        return
    if pair and direction is not None:
        raise AMIError("--pair exports both directions: leave --direction out")
    if not pair and direction is None:
        raise AMIError("say which network to export: --direction forward or backward (or --pair for both)")


def _check_out(out: str, text: bool) -> None:
    if out.endswith((".tgz", ".tar", ".tar.bz2", ".zip")):
        raise AMIError(f"{out}: fairseq's from_pretrained reads archives that end in {ARCHIVE}; name it so")
    if out.endswith(".pt") and text:
        raise AMIError(
            "--bpe-codes, --tokenizer and --notes go into a folder or archive: let OUT be one (no .pt at its end)"
        )


def _check_target(out: str, overwrite: bool) -> None:
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise AMIError(f"{out} exists already: pass --overwrite to replace it, or name another one")
    if not os.path.isdir(out):
        return
    if out.endswith((".pt", ARCHIVE)):
        raise AMIError(f"{out} is a folder: remove it, or name another file")
    recorded = read_record(out).files if format_of(out) else ()
    foreign = [name for name in sorted(files_in(out)) if name not in recorded and not _is_ours(name)]
    if foreign:
        raise AMIError(f"{out} holds files that no export wrote ({foreign[0]}, ...): it is not replaced")


def _is_ours(name: str) -> bool:
    return name in (MODEL, CODES, CARD) or (name.startswith("dict") and name.endswith(".txt"))


def _write(
    plain: Dict[str, Any], temporary: str, out: str, dictionaries: List[Path], codes: Optional[str], notes: str
) -> None:
    """The folder at *temporary*; or, for an archive, beside it and then packed."""
    archive = out.endswith(ARCHIVE)
    folder = temporary + ".d" if archive else temporary
    try:
        os.makedirs(folder)
        torch.save(plain, os.path.join(folder, MODEL))
        copy_text_files(folder, dictionaries, codes)
        name = os.path.basename(out)[: -len(ARCHIVE)] if archive else os.path.basename(out)
        Path(folder, CARD).write_text(model_card(plain, name) + notes, encoding="utf-8")
        if archive:
            with tarfile.open(temporary, "w:gz", compresslevel=6) as tar:
                tar.add(folder, arcname=name, filter=_anonymous)
    finally:
        if archive:
            shutil.rmtree(folder, ignore_errors=True)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
