"""Self-contained folders and archives of an exported checkpoint, written whole or not at all."""

import logging
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from fairseq.data import Dictionary

from fairseq_ami.checkpoints import part_of, read_checkpoint
from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.tools.sharing.model_card import model_card
from fairseq_ami.tools.sharing.states import pair_state, plain_state, set_text_processing

logger = logging.getLogger(__name__)

MODEL, CODES, CARD = "model.pt", "bpecodes", "model_card.md"
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
) -> str:
    """Write one network of a pair, or the pair, as a file (``.pt``), ``.tar.gz`` or folder; the path.

    Args:
        checkpoint, out: of a pair; what to write, in the form that its ending says.
        direction: ``forward`` or ``backward``; None with *pair*.
        pair: write both networks and the noise network, for the interface of ``fairseq_ami.hub``.
        data: folder with the dictionaries (default: the one that the checkpoint was trained on).
        bpe_codes, tokenizer: subword-nmt codes; ``moses`` or ``space``: to go into the folder.

    Raises:
        AMIError: *out* exists, the checkpoint is not of a pair, or a file is missing or does not fit.
    """
    out = out.rstrip("/") or out
    _check_request(out, direction, pair, bool(bpe_codes or tokenizer))
    _check_target(out, overwrite)
    if bpe_codes:
        check_codes(bpe_codes)
    state = read_checkpoint(checkpoint, "checkpoint to export", lazily=True)
    plain = pair_state(state, checkpoint) if pair else plain_state(state, str(direction), checkpoint)
    dictionaries: List[Path] = []
    if not out.endswith(".pt"):
        dictionaries = find_dictionaries(plain, data or str(part_of(state, "task").get("data") or "."))
        set_text_processing(plain["cfg"], CODES if bpe_codes else None, tokenizer)
        _warn_about_subwords(dictionaries, bpe_codes)
    with whole(out, parents=True) as temporary:
        if out.endswith(".pt"):
            torch.save(plain, temporary)
        else:
            _write(plain, temporary, out, dictionaries, bpe_codes)
    return out


def _check_request(out: str, direction: Optional[str], pair: bool, text: bool) -> None:
    if pair and direction is not None:
        raise AMIError("--pair exports both directions: leave --direction out")
    if not pair and direction is None:
        raise AMIError("say which network to export: --direction forward or backward (or --pair for both)")
    if out.endswith((".tgz", ".tar", ".tar.bz2", ".zip")):
        raise AMIError(f"{out}: fairseq's from_pretrained reads archives that end in {ARCHIVE}; name it so")
    if out.endswith(".pt") and text:
        raise AMIError("--bpe-codes and --tokenizer go into a folder or archive: let OUT be one (no .pt at its end)")


def _check_target(out: str, overwrite: bool) -> None:
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise AMIError(f"{out} exists already: pass --overwrite to replace it, or name another one")
    if not os.path.isdir(out):
        return
    if out.endswith((".pt", ARCHIVE)):
        raise AMIError(f"{out} is a folder: remove it, or name another file")
    foreign = [name for name in sorted(os.listdir(out)) if not _is_ours(name)]
    if foreign:
        raise AMIError(f"{out} holds files that no export wrote ({foreign[0]}, ...): it is not replaced")


def _is_ours(name: str) -> bool:
    return name in (MODEL, CODES, CARD) or (name.startswith("dict.") and name.endswith(".txt"))


def check_codes(path: str) -> None:
    """Refuse what is no file of subword-nmt codes.

    Raises:
        AMIError: missing, or of another format.
    """
    from subword_nmt.apply_bpe import BPE

    try:
        with open(path, encoding="utf-8") as codes:
            BPE(codes)
    except OSError as error:
        raise AMIError(f"--bpe-codes: {path} cannot be read ({error.strerror})") from error
    except (SystemExit, ValueError, IndexError) as error:  # subword-nmt ends the program on a bad line
        raise AMIError(f"--bpe-codes: {path} does not hold codes of subword-nmt") from error


def find_dictionaries(plain: Dict[str, Any], data: str) -> List[Path]:
    """The dictionaries of an exported checkpoint: source, then target.

    Raises:
        AMIError: one is missing, or has another size than the network's embeddings.
    """
    task, found = plain["cfg"]["task"], []
    folder = Path(data.split(os.pathsep)[0])
    for side, language in (("encoder", task["source_lang"]), ("decoder", task["target_lang"])):
        path = folder / f"dict.{language}.txt"
        if not path.is_file():
            raise AMIError(f"there is no dictionary {path}: name the folder of the binarised data with --data")
        keys = (f"{side}.embed_tokens.weight", f"forward_model.{side}.embed_tokens.weight")
        want = next(plain["model"][key] for key in keys if key in plain["model"]).size(0)
        have = len(Dictionary.load(str(path)))
        if have != want:
            raise AMIError(
                f"{path} has {have} symbols, the network was trained with {want}: name the folder of its own data "
                "with --data"
            )
        found.append(path)
    return found


def _warn_about_subwords(dictionaries: List[Path], bpe_codes: Optional[str]) -> None:
    if not bpe_codes and "@@ " in dictionaries[0].read_text(encoding="utf-8"):
        logger.warning("the dictionary holds subwords (@@): without --bpe-codes the export reads segmented text only")


def _write(plain: Dict[str, Any], temporary: str, out: str, dictionaries: List[Path], codes: Optional[str]) -> None:
    """The folder at *temporary*; or, for an archive, beside it and then packed."""
    archive = out.endswith(ARCHIVE)
    folder = temporary + ".d" if archive else temporary
    try:
        os.makedirs(folder)
        torch.save(plain, os.path.join(folder, MODEL))
        for path in dictionaries:
            shutil.copyfile(path, os.path.join(folder, path.name))
        if codes:
            shutil.copyfile(codes, os.path.join(folder, CODES))
        name = os.path.basename(out)[: -len(ARCHIVE)] if archive else os.path.basename(out)
        Path(folder, CARD).write_text(model_card(plain, name), encoding="utf-8")
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
