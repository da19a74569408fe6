"""What importing the package does, as a function: a command that needs none of it does without."""

from fairseq_ami.checkpoints import allow_checkpoint_classes
from fairseq_ami.errors import show_without_traceback


def register() -> None:
    """Register the tasks, models, criterions and the optimizer with fairseq, and let torch read its checkpoints.

    Later calls change nothing.
    """
    allow_checkpoint_classes()
    show_without_traceback()
    from fairseq_ami import criterions, models, optim, tasks  # noqa: F401
