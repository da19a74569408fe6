"""Posterior means in the plane of their two largest principal components."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, List, Sequence, Union

import torch
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.tools.figures.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LABELS = 20  # colours that can be told apart


@dataclass(frozen=True)
class Projection:
    """Of posterior means.

    Attributes:
        points: shape (sentences, 2).
        explained: part of the variance on each axis, shape (2,).
    """

    points: Tensor
    explained: Tensor


def principal_components(means: Tensor) -> Projection:
    """PCA by singular values, exact; an axis points to where its largest loading is positive.

    Args:
        means: shape (sentences, latent).

    Raises:
        AMIError: fewer than two sentences or two units, or means that are all the same.
    """
    if min(means.shape) < 2:
        raise AMIError(f"two axes need two sentences and two latent units: there are {len(means)} and {means.size(1)}")
    centred = means.double() - means.double().mean(0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    if float(singular[0]) <= 1e-12 * max(1.0, float(means.abs().max())) * len(means) ** 0.5:
        raise AMIError("all posterior means are the same: the posterior has collapsed, there is nothing to draw")
    axes = directions[:2]
    largest = axes.abs().argmax(1, keepdim=True)
    axes = axes * axes.gather(1, largest).sign()
    variance = singular.square()
    return Projection(centred @ axes.T, variance[:2] / variance.sum())


def draw(projection: Projection, colours: Sequence[Union[int, str]]) -> "Figure":
    """Points coloured by sentence length (numbers) or by label (text).

    Raises:
        AMIError: too many labels to tell apart, or matplotlib is not installed.
    """
    figure = new_figure(6.0, 4.5)
    panel = figure.subplots()
    x, y = projection.points.T.tolist()
    size = 30 if len(x) <= 200 else 8
    if isinstance(colours[0], str):
        names = sorted(set(map(str, colours)))
        _check_labels(names)
        palette = "tab10" if len(names) <= 10 else "tab20"
        import matplotlib

        for number, name in enumerate(names):
            rows = [row for row, label in enumerate(colours) if label == name]
            colour = matplotlib.colormaps[palette](number)
            panel.scatter([x[r] for r in rows], [y[r] for r in rows], s=size, color=colour, alpha=0.7, lw=0, label=name)
        figure.legend(loc="outside right upper", frameon=False, markerscale=(30 / size) ** 0.5)
    else:
        drawn = panel.scatter(x, y, s=size, c=list(colours), cmap="viridis", alpha=0.7, linewidths=0)
        figure.colorbar(drawn, label="sentence length (tokens)").solids.set(alpha=1)
    names_of_axes: Sequence[Callable[[str], object]] = (panel.set_xlabel, panel.set_ylabel)
    for axis, part, number in zip(names_of_axes, projection.explained.tolist(), (1, 2)):
        axis(f"principal component {number} ({100 * part:.0f} % of the variance)")
    panel.grid(alpha=0.3)
    return figure


def _check_labels(names: List[str]) -> None:
    if len(names) > _MOST_LABELS:
        raise AMIError(f"--labels: {len(names)} different labels, at most {_MOST_LABELS} can be told apart by colour")


def table(projection: Projection, lines: Sequence[int], name: str, colours: Sequence[Union[int, str]]) -> str:
    """Tab-separated: line of the split, both coordinates, length or label."""
    rows = zip(lines, projection.points.tolist(), colours)
    cells = [f"{line}\t{point[0]:.4f}\t{point[1]:.4f}\t{colour}" for line, point, colour in rows]
    return "\n".join(["\t".join(["line", "pc1", "pc2", name]), *cells])
