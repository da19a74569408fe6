"""matplotlib without a screen, and files that are whole or absent."""

import os
from typing import TYPE_CHECKING, Any

from fairseq_ami.errors import AMIError
from fairseq_ami.files import check_writable, whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")


def check_path(path: str) -> None:
    """Before any work is done.

    Raises:
        AMIError: a format that is not known, or a folder that is not there.
    """
    if os.path.splitext(path)[1].lower() not in FORMATS:
        raise AMIError(f"--output {path}: the name must end with {', '.join(FORMATS)}")
    check_writable(path)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches.

    Raises:
        AMIError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AMIError("figures need matplotlib: pip install matplotlib (--table prints the numbers)") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    engine: Any = figure.get_layout_engine()  # of the constrained layout, which knows paddings
    engine.set(w_pad=0.1)
    FigureCanvasAgg(figure)
    return figure


def save(figure: "Figure", path: str) -> None:
    """Write the figure in the format of the name's ending.

    Raises:
        AMIError: the disk or its permissions do not let us.
    """
    # the date would make two files of the same figure differ
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(os.path.splitext(path)[1].lower())
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=200, metadata=metadata)
