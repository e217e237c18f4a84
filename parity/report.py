"""What the ladder found: a table in the terminal, `report.json`, and a page."""

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
from parity.faults.planted import Caught
from parity.verdicts import explain, figure, finite

_COLOURS = {"PASS": "green", "FAIL": "red", "ABSENT": "yellow"}
# Bars in a plot; a longer list shows the quantities with the largest errors.
_MOST_BARS = 60


def passed(verdicts: Sequence[Verdict], caught: Sequence[Caught]) -> bool:
    """Whether nothing failed, something was compared, and every fault was found where it should."""
    return (
        any(verdict.status == "PASS" for verdict in verdicts)
        and all(verdict.status != "FAIL" for verdict in verdicts)
        and all(each.as_expected for each in caught)
    )


def print_table(console: Console, verdicts: Sequence[Verdict]) -> None:
    """One line for each rung, port and original: the check that comes closest to its bound."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("rung", "port", "original", "worst quantity"):
        table.add_column(name, overflow="fold")
    table.add_column("checks", justify="right")
    for name in ("error", "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    before = None
    for group in _groups(verdicts):
        verdict = max(group, key=_severity)
        check = verdict.check
        rung = f"{check.rung} {RUNGS[check.rung]}"
        compared = verdict.compared
        table.add_row(
            rung if rung != before else "",
            check.candidate,
            check.original,
            f"{verdict.worst.quantity} ({check.case})" if compared else check.case,
            str(len(group)),
            figure(verdict.worst.error) if compared else "–",
            figure(check.bound),
            Text(verdict.status, style=_COLOURS[verdict.status]),
        )
        before = rung
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


def print_faults(console: Console, caught: Sequence[Caught]) -> None:
    """One line a planted fault, and how many were found."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("planted fault", "port", "found by"):
        table.add_column(name, overflow="fold")
    for each in caught:
        style = "" if each.as_expected else "red"
        table.add_row(
            Text(each.fault.name, style=style), each.fault.port.name, Text(each.sentence())
        )
    console.print(table)
    console.print(_score(caught))


def as_json(
    environment: Mapping[str, str], verdicts: Sequence[Verdict], caught: Sequence[Caught]
) -> dict[str, Any]:
    """Everything, as data. An infinite error is the string "inf"."""
    return {
        "format": 1,
        "passed": passed(verdicts, caught),
        "environment": dict(environment),
        "checks": [
            {
                "rung": verdict.check.rung,
                "name": RUNGS[verdict.check.rung],
                "port": verdict.check.candidate,
                "original": verdict.check.original,
                "case": verdict.check.case,
                "verdict": verdict.status,
                "error": finite(verdict.worst.error),
                "bound": verdict.check.bound,
                "because": verdict.check.because,
                "worst": verdict.worst.quantity,
                "message": verdict.message if verdict.status == "PASS" else explain(verdict),
                "seconds": round(verdict.seconds, 2),
                "quantities": {
                    difference.quantity: finite(difference.error)
                    for difference in verdict.comparison.differences
                },
            }
            for verdict in verdicts
        ],
        "faults": [
            {
                "name": each.fault.name,
                "port": each.fault.port.name,
                "expected": each.fault.rung,
                "found": each.rung,
                "by": each.sentence(),
            }
            for each in caught
        ],
        "caught": sum(each.as_expected for each in caught),
        "planted": len(caught),
    }


def write(
    directory: Path,
    environment: Mapping[str, str],
    verdicts: Sequence[Verdict],
    caught: Sequence[Caught],
) -> None:
    """Write `report.json` and `report.html` into a folder, which is made if absent."""
    directory.mkdir(parents=True, exist_ok=True)
    data = as_json(environment, verdicts, caught)
    write_json(directory / "report.json", data)
    write_atomically(directory / "report.html", page(environment, verdicts, caught))


def page(
    environment: Mapping[str, str], verdicts: Sequence[Verdict], caught: Sequence[Caught]
) -> str:
    """A page that needs nothing else: verdicts, planted faults, and the error by quantity."""
    templates = page_environment("parity", "templates")
    templates.filters |= {
        "explain": explain,
        "figure": figure,
        "has_plot": _has_plot,
        "plot": _plot,
        "score": _score,
    }
    return templates.get_template("ladder.html.jinja").render(
        passed=passed(verdicts, caught),
        environment=environment,
        verdicts=verdicts,
        caught=caught,
        rungs=RUNGS,
    )


def _has_plot(verdict: Verdict) -> bool:
    found = [d for d in verdict.comparison.differences if math.isfinite(d.error)]
    return len(found) > 1 and any(d.error for d in found) and verdict.check.bound > 0


def _plot(verdict: Verdict) -> Markup:
    import matplotlib
    from matplotlib.figure import Figure

    found = [d for d in verdict.comparison.differences if math.isfinite(d.error)]
    # From the top in the order of computation.
    if len(found) > _MOST_BARS:
        farthest = sorted(found, key=lambda d: -d.error)[:_MOST_BARS]
        found = [d for d in found if d in farthest]
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
    # Text stays text, because letters drawn as paths take more space than the bars.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg")
    # Matplotlib escapes the names of the quantities.
    return Markup(text.getvalue()[text.getvalue().index("<svg") :])


def _score(caught: Sequence[Caught]) -> str:
    found = sum(each.as_expected for each in caught)
    return f"{found} of {len(caught)} planted faults found by the rung that is there for them."
