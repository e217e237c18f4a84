"""The report as one page: no script, nothing from the network, whatever its names hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chifoumi_jax.html import page_environment
from chifoumi_jax.prediction.gradcam import has_feature_map
from chifoumi_jax.reports.evaluated import Judged
from chifoumi_jax.reports.gallery import right_places, show, wrong_places


def render(
    judged: Sequence[Judged],
    runs: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    *,
    images: bool,
) -> str:
    """The page, in HTML.

    Args:
        judged: Each run's answers.
        runs: The numbers of each; see `metrics.measures`.
        comparisons: Those of each pair; see `mcnemar.compare`.
        images: Whether photos stand in it.
    """
    environment = page_environment("chifoumi_jax", "reports")
    environment.filters |= {"percent": percent, "number": number, "p_value": p_value}
    names = short_names([numbers["run"] for numbers in runs])
    shown = [
        {
            "name": names[numbers["run"]],
            "numbers": numbers,
            "explained": has_feature_map(one.classifier.recipe),
            "wrong": show(one, wrong_places(one), images=images),
            "right": show(one, right_places(one), images=images),
        }
        for one, numbers in zip(judged, runs, strict=True)
    ]
    return environment.get_template("page.html.jinja").render(
        runs=shown, names=names, comparisons=comparisons, images=images
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """For each path as many of its last parts as tell it from the others."""
    parts = {path: Path(path).absolute().parts for path in paths}
    longest = max(map(len, parts.values()))
    for count in range(1, longest):
        names = {path: "/".join(of[-count:]) for path, of in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {path: path for path in paths}


def percent(share: float | None, digits: int = 1) -> str:
    """A share for people, in HTML; a dash where there is none."""
    from markupsafe import Markup

    return "–" if share is None else Markup(f"{100 * share:.{digits}f}&nbsp;%")


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """A probability for people, which is not 0."""
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"
