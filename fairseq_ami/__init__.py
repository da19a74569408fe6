"""fairseq_ami: information-driven text generation on fairseq.

Importing the package (``--user-dir fairseq_ami``) registers its tasks, models, criterions and optimizer.
"""

from fairseq_ami.checkpoints import allow_checkpoint_classes
from fairseq_ami.errors import show_without_traceback
from fairseq_ami.version import __version__

allow_checkpoint_classes()
show_without_traceback()

from fairseq_ami import criterions, models, optim, tasks  # noqa: E402,F401

__all__ = ["__version__"]
