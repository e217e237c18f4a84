"""Pictures of what a system has learnt."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
