"""A page of several systems' runs: the study's figures beside ours, and the pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chifoumi_jax.html import image_uri, page_environment
from chifoumi_jax.training.display import duration

if TYPE_CHECKING:
    from chifoumi_jax.systems.loop import SystemRun


def render(runs: Sequence[tuple[Any, SystemRun]], *, quick: bool) -> str:
    """The page, in HTML without scripts or network requests.

    Args:
        runs: Each system and its finished run.
        quick: Whether the trainings were shortened.
    """
    shown = []
    for system, run in runs:
        seconds = sum(row["seconds"] for row in run.history)
        pictures = sorted(run.directory.glob("*.png"))
        shown.append(
            {
                "label": system.label,
                "title": system.title[0].upper() + system.title[1:],
                "framework": system.framework,
                "figures": run.figures,
                "epochs": len(run.history),
                "time": duration(seconds) if seconds >= 1 else f"{seconds:.2f} s",
                "data": _source(run.directory),
                "directory": str(run.directory),
                "pictures": [
                    {"name": path.stem, "uri": image_uri(path.read_bytes(), "png")}
                    for path in pictures
                ],
            }
        )
    environment = page_environment("chifoumi_jax", "systems")
    page: str = environment.get_template("page.html.jinja").render(runs=shown, quick=quick)
    return page


def _source(directory: Path) -> str:
    """Where a run's examples come from, as the run wrote it down; photos have their own file."""
    results = directory / "results.json"
    source: str = json.loads(results.read_bytes()).get("source", "drawn hands")
    return source
