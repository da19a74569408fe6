"""matplotlib without a screen, and files that are whole or absent."""

import os
from typing import TYPE_CHECKING, Any, Sequence

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


def legend_above(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend above all panels, in as many columns, 4 at most, as the figure is wide enough for."""
    canvas: Any = figure.canvas
    for columns in range(min(4, len(names)), 0, -1):
        legend = figure.legend(handles, names, loc="outside upper center", ncols=columns, frameon=False)
        if columns == 1 or legend.get_window_extent(canvas.get_renderer()).width <= figure.bbox.width:
            return
        legend.remove()


def save(figure: "Figure", path: str) -> None:
    """Write the figure in the format of the name's ending.

    Raises:
        AMIError: the disk or its permissions do not let us.
    """
    # the date would make two files of the same figure differ
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(os.path.splitext(path)[1].lower())
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=200, metadata=metadata)
