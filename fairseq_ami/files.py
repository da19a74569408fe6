"""Files and folders that are whole or absent."""

import os
import shutil
from contextlib import contextmanager
from typing import Iterator, Optional

from fairseq_ami.errors import AMIError


@contextmanager
def whole(path: str, parents: bool = False) -> Iterator[str]:
    """A name beside *path*, with its ending, for a file or a folder that takes the place of *path* if all goes well.

    Otherwise it is removed. What stood there before is kept until then.

    Args:
        path: what to write.
        parents: make the folders that it is to stand in.

    Raises:
        AMIError: the disk or its permissions do not let us.
    """
    stem, ending = os.path.splitext(path)
    temporary, old = (f"{stem}.{word}{os.getpid()}{ending}" for word in ("tmp", "old"))
    try:
        if parents:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        yield temporary
        if os.path.isdir(path):  # a folder cannot be replaced in one step
            os.rename(path, old)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save raises a RuntimeError when the disk is full
        if os.path.isdir(old) and not os.path.exists(path):
            os.rename(old, path)
        raise AMIError(f"cannot write {path}: {error}") from error
    finally:
        for rest in (temporary, old):
            if os.path.isdir(rest):
                shutil.rmtree(rest, ignore_errors=True)
            elif os.path.exists(rest):
                os.remove(rest)


def check_writable(*paths: Optional[str]) -> None:
    """Before any work is done; paths that are None or empty were not asked for.

    Raises:
        AMIError: one of *paths* is a folder, or lies in a folder that is not there.
    """
    for path in filter(None, paths):
        if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
            raise AMIError(f"cannot write {path}: it is a folder, or its folder does not exist")


def write_text(path: str, text: str) -> None:
    """A whole text file.

    Raises:
        AMIError: see :func:`whole`.
    """
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as out:
        out.write(text)


def like_other_files(folder: str) -> None:
    """Give all files below *folder* the permissions of a new file; some libraries write files for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    for where, _, names in os.walk(folder):
        for name in names:
            os.chmod(os.path.join(where, name), 0o666 & ~mask)
