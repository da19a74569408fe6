"""Networks to try at once: their names, where their archives lie, and how a whole archive is known.

``register.json`` holds one entry per name. ``file`` is a place below the folder of the register, or else there is a
``url``. ``size`` is in bytes, and ``card`` is one sentence about the network. The archives are those of
``fairseq-ami export``.
"""

import hashlib
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from fairseq_ami.errors import AMIError
from fairseq_ami.files import whole
from fairseq_ami.tools.sharing.archives import cache_folder

REGISTER = Path(__file__).with_name("register.json")
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Registered:
    """A network of the register.

    Attributes:
        name: what users call it, for example ``multi30k.en-de``.
        size: of the archive, in bytes.
        sha256: of the archive, in hexadecimal digits.
        card: one sentence about it.
        url: where it is fetched from; None for a file of the package.
        file: its place below the folder of the register; None for a URL.
    """

    name: str
    size: int
    sha256: str
    card: str
    url: Optional[str] = None
    file: Optional[str] = None


def registered() -> Dict[str, Registered]:
    """All networks of the register by name.

    Raises:
        AMIError: the register is damaged.
    """
    try:
        entries = json.loads(REGISTER.read_text(encoding="utf-8"))["networks"]
        found = {name: Registered(name=name, **entry) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AMIError(f"{REGISTER} cannot be read; install the package again ({error})") from error
    unclear = [name for name, entry in found.items() if (entry.url is None) == (entry.file is None)]
    if unclear:
        raise AMIError(f"{REGISTER}: {unclear[0]} needs either a url or a file")
    return found


def located(model: str) -> str:
    """The path of a model: *model* itself if it exists, else the archive of the registered network of that name.

    An archive is fetched once and kept in the cache, whole or not at all. It is checked at every use.

    Raises:
        AMIError: neither a path nor a name, no connection, or an archive that is not the registered one.
    """
    if os.path.exists(model):
        return model
    networks = registered()
    if model not in networks:
        known = f"; registered networks: {', '.join(sorted(networks))}" if networks else ""
        raise AMIError(f"there is no model {model}{known}")
    entry = networks[model]
    if entry.file is not None:
        path = str(REGISTER.parent / entry.file)
        _check(entry, path, path)
        return path
    path = os.path.join(cache_folder(), f"{entry.name}.tar.gz")
    if not os.path.isfile(path) or _differences(entry, path):
        _fetch(entry, path)
    return path


def _fetch(entry: Registered, path: str) -> None:
    """Download, check, and only then put into the cache."""
    with whole(path, parents=True) as temporary:
        try:
            with urllib.request.urlopen(str(entry.url), timeout=TIMEOUT) as answer, open(temporary, "wb") as out:
                while block := answer.read(1 << 20):
                    out.write(block)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise AMIError(
                f"{entry.name} cannot be fetched from {entry.url} ({reason}): check the connection, or download the "
                "archive by other means and pass its path"
            ) from error
        _check(entry, temporary, str(entry.url))


def _check(entry: Registered, path: str, where: str) -> None:
    wrong = _differences(entry, path)
    if wrong:
        raise AMIError(f"{entry.name} from {where} is not the registered archive: {wrong[0]}. It is not used")


def _differences(entry: Registered, path: str) -> List[str]:
    """What is wrong with a file; nothing if it is the registered one."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return [f"it cannot be read ({error.strerror})"]
    if len(content) != entry.size:
        return [f"it has {len(content)} bytes, not {entry.size}, so it is truncated or another file"]
    found = hashlib.sha256(content).hexdigest()
    return [] if found == entry.sha256 else [f"its sha256 is {found}, not {entry.sha256}, so it is damaged or replaced"]
