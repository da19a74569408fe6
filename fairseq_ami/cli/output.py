"""Files that the verbs write."""

import os

from fairseq_ami.errors import AMIError


def write_atomically(path: str, text: str) -> None:
    """Write a whole text file, or none.

    Raises:
        AMIError: the disk or its permissions do not let us.
    """
    temporary = f"{path}.tmp{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise AMIError(f"cannot write {path}: {error}") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
