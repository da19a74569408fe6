"""``fairseq_ami.json``: what a converted folder says about itself, and which of its files an export wrote."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from fairseq_ami.errors import AMIError
from fairseq_ami.version import __version__

RECORD = "fairseq_ami.json"


@dataclass(frozen=True)
class Record:
    """A converted folder.

    Attributes:
        format: ``ctranslate2`` or ``huggingface``.
        languages: what the network reads and writes; empty for a folder that holds both networks of a pair.
        limits: the longest source and the longest target, end symbols included.
        tokenizer, bpe: settings of fairseq's tokenizer and subword code, or None.
        quantization: type of the weights, or None for float32.
        direction: ``forward`` or ``backward`` in the pair that the network comes from, else None.
        pair: names of the folders that hold the networks of a pair.
        files: what the export wrote, relative to the folder.
        version: of this package.
    """

    format: str
    languages: Tuple[str, ...] = ()
    limits: Tuple[int, ...] = ()
    tokenizer: Optional[Dict[str, Any]] = None
    bpe: Optional[Dict[str, Any]] = None
    quantization: Optional[str] = None
    direction: Optional[str] = None
    pair: Tuple[str, ...] = ()
    files: Tuple[str, ...] = field(default=())
    version: str = __version__


def write_record(record: Record, folder: str) -> None:
    """Write the record, with the names of all files that lie in *folder*."""
    files = sorted({*files_in(folder), RECORD})
    content = {**asdict(record), "files": files}
    Path(folder, RECORD).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_record(folder: str) -> Record:
    """The record of a converted folder.

    Raises:
        AMIError: the folder has none, or it is damaged.
    """
    path = os.path.join(folder, RECORD)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        lists = {name: tuple(content[name]) for name in ("languages", "limits", "pair", "files")}
        return Record(**{**content, **lists})
    except FileNotFoundError as error:
        raise AMIError(
            f"{folder} is no folder of fairseq-ami export --format ctranslate2: it has no {RECORD}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AMIError(f"{path} cannot be read; it may be damaged: export the network again ({error})") from error


def format_of(path: str) -> Optional[str]:
    """The format of a converted folder; None for anything else."""
    return read_record(path).format if os.path.isfile(os.path.join(path, RECORD)) else None


def files_in(folder: str) -> List[str]:
    """All files below *folder*, relative to it."""
    return [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir()]
