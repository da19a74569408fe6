"""The dictionaries and codes that go with an exported network."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional

from fairseq.data import Dictionary

from fairseq_ami.errors import AMIError

logger = logging.getLogger(__name__)

CODES = "bpecodes"  # name of the codes in the folder, where fairseq looks for them


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


def warn_about_subwords(dictionaries: List[Path], bpe_codes: Optional[str]) -> None:
    if not bpe_codes and "@@ " in dictionaries[0].read_text(encoding="utf-8"):
        logger.warning("the dictionary holds subwords (@@): without --bpe-codes the export reads segmented text only")


def copy_text_files(folder: str, dictionaries: List[Path], codes: Optional[str]) -> None:
    """Put dictionaries and codes into an exported folder."""
    for path in dictionaries:
        shutil.copyfile(path, os.path.join(folder, path.name))
    if codes:
        shutil.copyfile(codes, os.path.join(folder, CODES))
