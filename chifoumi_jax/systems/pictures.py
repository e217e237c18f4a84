"""Pictures of what a system has learnt."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from chifoumi_jax.files import write_atomically


@contextlib.contextmanager
def figure(path: Path) -> Iterator[Any]:
    """Yield the axes of a new picture, which is written to `path` when the block ends."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(6.4, 4.0), dpi=120, layout="constrained")
    axes = picture.subplots()
    yield axes
    content = io.BytesIO()
    picture.savefig(content, format="png")
    write_atomically(path, content.getvalue())


def curves(
    path: Path,
    history: Sequence[Mapping[str, float]],
    names: Mapping[str, str],
    study: Mapping[str, Sequence[float]],
    unit: str,
) -> None:
    """Write a picture of columns of the history over the epochs, beside the study's values.

    Args:
        path: The picture.
        history: A mapping for each epoch.
        names: Columns of the history, and how the legend names them.
        study: For some of the columns the study's values, from its first epoch.
        unit: What the values are.
    """
    with figure(path) as axes:
        for number, (name, label) in enumerate(names.items()):
            rows = [row for row in history if name in row]
            epochs, values = [row["epoch"] for row in rows], [row[name] for row in rows]
            axes.plot(epochs, values, "-o", color=f"C{number}", markersize=3, label=label)
            theirs = study.get(name, ())
            if len(theirs):
                axes.plot(
                    range(1, len(theirs) + 1),
                    theirs,
                    "--",
                    color=f"C{number}",
                    alpha=0.6,
                    label=f"{label}, study",
                )
        axes.set(xlabel="epoch", ylabel=unit)
        axes.legend()


def grid(
    path: Path,
    rows: Sequence[Float[Array, "columns height width"]]
    | Float[Array, "rows columns height width"],
) -> None:
    """Write gray images in [0, 1], dark on light, in rows and columns, three times as large.

    Args:
        path: The picture.
        rows: The images of each row; all rows have the same number of images.
    """
    from PIL import Image

    lines = [
        np.concatenate([np.pad(image, 1) for image in np.asarray(row)], axis=1) for row in rows
    ]
    gray = np.rint(255 * (1 - np.clip(np.concatenate(lines), 0, 1))).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(gray.repeat(3, 0).repeat(3, 1)).save(content, "png")
    write_atomically(path, content.getvalue())


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of `titled_grid`.

    Attributes:
        label: What stands beside it.
        images: Gray images in [0, 1].
        titles: What stands above each image.
    """

    label: str
    images: Float[np.ndarray, "columns height width"]
    titles: Sequence[str]


def titled_grid(path: Path, rows: Sequence[Row], label: str) -> None:
    """Write gray images, bright on dark, with a title above each and a label beside each row.

    Args:
        path: The picture.
        rows: The rows; one with fewer images than others is filled with blanks.
        label: What the rows' labels are.
    """
    from matplotlib.figure import Figure

    columns = max(1, *(len(row.images) for row in rows))
    size = (0.5 + 1.1 * columns, 1.3 * len(rows))
    picture = Figure(figsize=size, dpi=120, layout="constrained")
    axes = picture.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for cell in line:
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(row.label)
        for cell, image, title in zip(line, row.images, row.titles, strict=False):
            cell.imshow(image, cmap="gray", vmin=0, vmax=1)
            cell.set_title(title, fontsize=9)
    picture.supylabel(label)
    content = io.BytesIO()
    picture.savefig(content, format="png")
    write_atomically(path, content.getvalue())
