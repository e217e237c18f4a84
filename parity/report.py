"""The ladder's results: a table in the terminal, `report.json`, and an HTML page."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.html import page_environment
from parity.check import RUNGS, Verdict
from parity.faults.planted import Detection
from parity.verdicts import explain, json_number, short_number

_COLOURS = {"PASS": "green", "FAIL": "red", "ABSENT": "yellow"}
# A plot with more quantities shows those with the largest errors.
_MAX_BARS = 60


def passed(verdicts: Sequence[Verdict], detections: Sequence[Detection]) -> bool:
    """Whether nothing failed, something passed, and the expected rung found every fault."""
    return (
        any(verdict.status == "PASS" for verdict in verdicts)
        and all(verdict.status != "FAIL" for verdict in verdicts)
        and all(detection.as_expected for detection in detections)
    )


def print_table(console: Console, verdicts: Sequence[Verdict]) -> None:
    """One line for each rung, port and original: the check closest to its bound."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("rung", "port", "original", "worst quantity"):
        table.add_column(name, overflow="fold")
    table.add_column("checks", justify="right")
    for name in ("error", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    previous = None
    for group in _groups(verdicts):
        verdict = max(group, key=_severity)
        check = verdict.check
        rung = f"{check.rung} {RUNGS[check.rung]}"
        compared = verdict.compared
        table.add_row(
            rung if rung != previous else "",
            check.candidate,
            check.original,
            f"{verdict.worst.quantity} ({check.case})" if compared else check.case,
            str(len(group)),
            short_number(verdict.worst.error) if compared else "–",
            short_number(check.bound),
            Text(verdict.status, style=_COLOURS[verdict.status]),
        )
        previous = rung
    console.print(table)
    for verdict in verdicts:
        if verdict.status == "PASS" and verdict.message:
            console.print(Text(f"{verdict.check.title}: {verdict.message}"))
    for verdict in verdicts:
        if verdict.status != "PASS":
            console.print(Text(f"{verdict.status} {verdict.check.title}: {explain(verdict)}"))


def _groups(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    groups: dict[tuple[int, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        check = verdict.check
        groups.setdefault((check.rung, check.candidate, check.original), []).append(verdict)
    return list(groups.values())


def _severity(verdict: Verdict) -> tuple[int, float]:
    status = {"PASS": 0, "ABSENT": 1, "FAIL": 2}[verdict.status]
    bound = verdict.check.bound
    return status, verdict.worst.error / bound if bound else verdict.worst.error


def print_faults(console: Console, detections: Sequence[Detection]) -> None:
    """One line for each planted fault, and the number of faults found."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("planted fault", "port", "found by"):
        table.add_column(name, overflow="fold")
    for detection in detections:
        fault = detection.fault
        style = "" if detection.as_expected else "red"
        table.add_row(Text(fault.name, style=style), fault.candidate, Text(detection.sentence()))
    console.print(table)
    console.print(_score(detections))


def as_json(
    environment: Mapping[str, str], verdicts: Sequence[Verdict], detections: Sequence[Detection]
) -> dict[str, Any]:
    """All results as data for JSON. An infinite error is the string "inf"."""
    return {
        "format": 1,
        "passed": passed(verdicts, detections),
        "environment": dict(environment),
        "checks": [
            {
                "rung": verdict.check.rung,
                "name": RUNGS[verdict.check.rung],
                "port": verdict.check.candidate,
                "original": verdict.check.original,
                "case": verdict.check.case,
                "verdict": verdict.status,
                "error": json_number(verdict.worst.error),
                "bound": verdict.check.bound,
                "because": verdict.check.because,
                "worst": verdict.worst.quantity,
                "message": verdict.message if verdict.status == "PASS" else explain(verdict),
                "seconds": round(verdict.seconds, 2),
                "quantities": {
                    difference.quantity: json_number(difference.error)
                    for difference in verdict.comparison.differences
                },
            }
            for verdict in verdicts
        ],
        "faults": [
            {
                "name": detection.fault.name,
                "port": detection.fault.candidate,
                "expected": detection.fault.rung,
                "found": detection.rung,
                "by": detection.sentence(),
            }
            for detection in detections
        ],
        "caught": sum(detection.as_expected for detection in detections),
        "planted": len(detections),
    }


def write(
    directory: Path,
    environment: Mapping[str, str],
    verdicts: Sequence[Verdict],
    detections: Sequence[Detection],
) -> None:
    """Write `report.json` and `report.html` into a folder, which is created if absent."""
    directory.mkdir(parents=True, exist_ok=True)
    data = as_json(environment, verdicts, detections)
    write_json(directory / "report.json", data)
    write_atomically(directory / "report.html", page(environment, verdicts, detections))


def page(
    environment: Mapping[str, str], verdicts: Sequence[Verdict], detections: Sequence[Detection]
) -> str:
    """A self-contained HTML page: verdicts, planted faults, and the error of each quantity."""
    templates = page_environment("parity", "templates")
    templates.filters |= {
        "explain": explain,
        "short_number": short_number,
        "has_plot": _has_plot,
        "plot": _plot,
        "score": _score,
    }
    return templates.get_template("ladder.html.jinja").render(
        passed=passed(verdicts, detections),
        environment=environment,
        verdicts=verdicts,
        detections=detections,
        rungs=RUNGS,
    )


def _has_plot(verdict: Verdict) -> bool:
    found = [d for d in verdict.comparison.differences if math.isfinite(d.error)]
    return len(found) > 1 and any(d.error for d in found) and verdict.check.bound > 0


def _plot(verdict: Verdict) -> Markup:
    import matplotlib
    from matplotlib.figure import Figure

    found = [d for d in verdict.comparison.differences if math.isfinite(d.error)]
    # Top to bottom, in the order of computation.
    if len(found) > _MAX_BARS:
        largest = sorted(found, key=lambda d: -d.error)[:_MAX_BARS]
        found = [d for d in found if d in largest]
    figure = Figure(figsize=(9, 0.9 + 0.2 * len(found)), layout="constrained")
    axes = figure.subplots()
    smallest = min(d.error for d in found if d.error)
    colours = ["#d1242f" if d.error > verdict.check.bound else "#0969da" for d in found]
    axes.barh(
        range(len(found)),
        [max(d.error, smallest / 10) for d in found],
        color=colours,
        left=smallest / 10,
    )
    axes.axvline(verdict.check.bound, color="#d1242f", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(found)), [d.quantity.replace("$", r"\$") for d in found], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("error (line: bound)")
    text = io.StringIO()
    # Text is stored as text, because letters drawn as paths take more space than the bars.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg")
    # Safe as Markup, because matplotlib escapes the names of the quantities.
    return Markup(text.getvalue()[text.getvalue().index("<svg") :])


def _score(detections: Sequence[Detection]) -> str:
    found = sum(detection.as_expected for detection in detections)
    return f"{found} of {len(detections)} planted faults found by the rung that must find them."
