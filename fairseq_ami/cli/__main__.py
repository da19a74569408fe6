"""`python -m fairseq_ami.cli`: the same as `fairseq-ami`, where the package is not installed."""

import sys

from fairseq_ami.cli import main

if __name__ == "__main__":
    sys.exit(main())
