"""The pictures in a run's folder: learning curves, confusion matrix, worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chifoumi_jax.metrics import confusion_matrix, worst_mistakes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chifoumi_jax.data.dataset import Dataset
    from chifoumi_jax.training.evaluation import Outcome

_MISTAKES = 12
_COLUMNS = 4


def write_report(
    directory: Path,
    history: Sequence[Mapping[str, float]],
    data: Dataset,
    outcome: Outcome | None,
) -> None:
    """Write `curves.png` and, if there are test photos, `confusion.png` and `mistakes.png`."""
    save_figure(curves(history), directory / "curves.png")
    if outcome is not None:
        matrix = confusion_matrix(outcome.labels, outcome.probabilities)
        save_figure(confusion(matrix, data.classes), directory / "confusion.png")
        save_figure(mistakes(data, outcome), directory / "mistakes.png")


def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Plot loss and accuracy by epoch."""
    figure = new_figure(8, 3.2, fixed=True)
    margins = {"left": 0.08, "right": 0.985, "bottom": 0.15, "top": 0.97, "wspace": 0.2}
    grid = figure.subplots(1, 2, gridspec_kw=margins)
    for axes, quantity in zip(grid, ("loss", "accuracy"), strict=True):
        for prefix, label in (("", "training"), ("valid_", "validation"), ("study_valid_", "test")):
            points = [
                (row["epoch"], row[prefix + quantity])
                for row in history
                if prefix + quantity in row
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, 1.05 * max(1.0 if quantity == "accuracy" else 0.0, axes.dataLim.y1))
        axes.legend()
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Plot the numbers of test photos by true and predicted class."""
    height = 1.8 + 0.7 * len(classes)
    figure = new_figure(height + 0.4, height)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    names = [_printable(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{np.trace(matrix)} of {matrix.sum()} right")
    return figure


def mistakes(data: Dataset, outcome: Outcome) -> Figure:
    """Show the wrongly classified test photos with the lowest probability of their true class."""
    predicted = np.argmax(outcome.probabilities, axis=1)
    worst = worst_mistakes(outcome.labels, outcome.probabilities)[:_MISTAKES]
    if not len(worst):
        figure = new_figure(4, 1)
        figure.text(0.5, 0.5, "no mistakes", ha="center", va="center")
        return figure
    columns = min(len(worst), _COLUMNS)
    rows = -(-len(worst) // columns)
    figure = new_figure(2.2 * columns, 2.7 * rows, fixed=True)
    # Room for two lines above each photo.
    margins = {"left": 0.02, "right": 0.98, "bottom": 0.02, "wspace": 0.06, "hspace": 0.22}
    margins["top"] = 1 - 0.45 / figure.get_figheight()
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, place in zip(grid, worst, strict=False):
        label = outcome.labels[place]
        axes.imshow(data.pixels[data.test.rows[place]], cmap="gray", vmin=0, vmax=255)
        axes.set_title(
            f"{_printable(data.classes[label])}, predicted\n"
            f"{_printable(data.classes[predicted[place]])} "
            f"({outcome.probabilities[place, predicted[place]]:.0%})",
            fontsize=8,
        )
    return figure


def new_figure(width: float, height: float, *, fixed: bool = False) -> Figure:
    """A figure of this size in inches.

    Its layout is computed from its content. With `fixed` it is not, which takes half the time.
    """
    # Not through pyplot, so that there is no global state and no display, and any thread may plot.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=None if fixed else "constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(path)


def _printable(name: str) -> str:
    # `$` starts mathematics in matplotlib, and a name may hold characters that no font can draw.
    return (
        ascii(name)[1:-1].replace("$", r"\$")
        if not name.isprintable()
        else name.replace("$", r"\$")
    )
