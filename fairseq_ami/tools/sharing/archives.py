"""Unpacking exported archives once, into a cache."""

import hashlib
import os
import shutil
import tarfile
import tempfile

import torch

from fairseq_ami.errors import AMIError


def cache_folder() -> str:
    """Where archives are unpacked: ``$FAIRSEQ_AMI_CACHE``, or ``fairseq_ami`` in torch.hub's folder."""
    return os.environ.get("FAIRSEQ_AMI_CACHE") or os.path.join(torch.hub.get_dir(), "fairseq_ami")


def unpacked(path: str) -> str:
    """The folder of a model; a ``.tar.gz`` is unpacked into the cache, under the hash of its contents.

    (fairseq's own loader removes a local archive and puts the folder in its place.)

    Raises:
        AMIError: the archive is damaged, or holds anything but one folder of plain files; or the cache cannot be
            written.
    """
    if os.path.isdir(path):
        return path
    with open(path, "rb") as file:
        name = hashlib.sha256(file.read()).hexdigest()[:32]
    folder = os.path.join(cache_folder(), name)
    if not os.path.isdir(folder):
        temporary = _new_folder(cache_folder())
        try:
            os.replace(_extract(path, temporary), folder)
        except OSError:
            if not os.path.isdir(folder):  # else another process was faster
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _new_folder(cache: str) -> str:
    """An empty folder in the cache."""
    try:
        os.makedirs(cache, exist_ok=True)
        return tempfile.mkdtemp(dir=cache)
    except OSError as error:
        raise AMIError(
            f"there is no place to unpack networks: {error}. Name a folder that can be written with FAIRSEQ_AMI_CACHE"
        ) from error


def _extract(path: str, into: str) -> str:
    """Unpack; returns the one folder inside."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(into, filter="data")  # no links out, no absolute paths
    except (tarfile.TarError, EOFError, OSError) as error:
        raise AMIError(f"{path} cannot be unpacked; it may be truncated or no .tar.gz ({error})") from error
    names = os.listdir(into)
    if len(names) != 1 or not os.path.isdir(os.path.join(into, names[0])):
        raise AMIError(f"{path} is no archive of fairseq-ami export: it should hold one folder")
    return os.path.join(into, names[0])
