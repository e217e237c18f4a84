"""The report as one page: no script, nothing from the network, whatever its names hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chifoumi_jax.data.problems import printable
from chifoumi_jax.gradcam import has_feature_map
from chifoumi_jax.judge.gallery import right_places, show, wrong_places

if TYPE_CHECKING:
    from chifoumi_jax.judge.report import Report


def render(report: Report, *, images: bool) -> str:
    """The page, in HTML; without photos if `images` is false."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("chifoumi_jax", "judge"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "p_value": p_value}
    names = short_names([numbers["run"] for numbers in report.runs])
    runs = [
        {
            "name": names[numbers["run"]],
            "numbers": numbers,
            "explained": has_feature_map(judged.classifier.recipe),
            "wrong": show(judged, wrong_places(judged), images=images),
            "right": show(judged, right_places(judged), images=images),
        }
        for judged, numbers in zip(report.judged, report.runs, strict=True)
    ]
    return environment.get_template("page.html.jinja").render(
        runs=runs, names=names, comparisons=report.comparisons, images=images
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


def _without_controls(value: Any) -> Any:
    # Names may hold what turns the text around or is no character at all. Plain strings only:
    # what the template itself made is Markup.
    return printable(value) if type(value) is str else value
