"""The report as one HTML page without scripts or network requests, safe for any file name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chifoumi_jax.html import page_environment
from chifoumi_jax.prediction.gradcam import has_feature_map
from chifoumi_jax.reports.evaluated import EvaluatedRun
from chifoumi_jax.reports.gallery import correct_indices, gallery, mistake_indices


def render(
    evaluated: Sequence[EvaluatedRun],
    runs: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    *,
    images: bool,
) -> str:
    """The page, in HTML.

    Args:
        evaluated: The evaluated runs.
        runs: The metrics of each run; see `metrics.run_metrics`.
        comparisons: The comparison of each pair of runs; see `mcnemar.compare`.
        images: Whether the page shows photos.
    """
    environment = page_environment("chifoumi_jax", "reports")
    environment.filters |= {"percent": percent, "number": number, "p_value": p_value}
    names = short_names([numbers["run"] for numbers in runs])
    shown = [
        {
            "name": names[numbers["run"]],
            "numbers": numbers,
            "explained": has_feature_map(run.classifier.recipe),
            "mistakes": gallery(run, mistake_indices(run), images=images),
            "correct": gallery(run, correct_indices(run), images=images),
        }
        for run, numbers in zip(evaluated, runs, strict=True)
    ]
    return environment.get_template("page.html.jinja").render(
        runs=shown, names=names, comparisons=comparisons, images=images
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each path: its last parts, as few as distinguish all paths."""
    all_parts = {path: Path(path).absolute().parts for path in paths}
    longest = max(map(len, all_parts.values()))
    for count in range(1, longest):
        names = {path: "/".join(parts[-count:]) for path, parts in all_parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {path: path for path in paths}


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage in HTML; a dash for None."""
    from markupsafe import Markup

    return "–" if share is None else Markup(f"{100 * share:.{digits}f}&nbsp;%")


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed digits; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """A p-value, which is never shown as 0."""
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"
