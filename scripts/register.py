"""Enter an archive of `fairseq-ami export` into the register of networks, with its size and its hash.

An archive below the folder of the register belongs to the package. Any other needs the URL that it can be fetched from.
"""

import argparse
import hashlib
import json
from pathlib import Path

from fairseq_ami.files import write_text
from fairseq_ami.tools.sharing.register import REGISTER, registered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="what users call the network")
    parser.add_argument("archive", type=Path)
    parser.add_argument("card", help="one sentence about it")
    parser.add_argument("--url", help="where it can be fetched from")
    args = parser.parse_args()
    content = args.archive.read_bytes()
    if args.url:
        where = {"url": args.url}
    else:
        where = {"file": args.archive.resolve().relative_to(REGISTER.parent.resolve()).as_posix()}
    entry = {**where, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "card": args.card}
    known = json.loads(REGISTER.read_text(encoding="utf-8"))
    known["networks"][args.name] = entry
    write_text(str(REGISTER), json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    print(registered()[args.name])


if __name__ == "__main__":
    main()
