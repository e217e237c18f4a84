"""What the ladder found: a table in the terminal, `report.json`, and a page of its own."""

import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chifoumi_jax.files import write_atomically
from parity.check import RUNGS, Verdict
from parity.faults.planted import Caught

_COLOURS = {"PASS": "green", "FAIL": "red", "ABSENT": "yellow"}


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
        compared = bool(verdict.comparison.differences)
        table.add_row(
            rung if rung != before else "",
            check.candidate,
            check.original,
            f"{verdict.worst.quantity} ({check.case})" if compared else check.case,
            str(len(group)),
            number(verdict.worst.error) if compared else "–",
            number(check.bound),
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


def explain(verdict: Verdict) -> str:
    """The first quantity beyond the bound, or why nothing was compared."""
    if verdict.comparison.differences and verdict.first is not None:
        return verdict.first.sentence()
    return verdict.message or "nothing was compared"


def number(value: float) -> str:
    """A figure of two digits."""
    if value == 0:
        return "0"
    return f"{value:.1e}" if not 1e-2 <= value < 1e4 else f"{value:.3g}"


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
                "error": _finite(verdict.worst.error),
                "bound": verdict.check.bound,
                "because": verdict.check.because,
                "worst": verdict.worst.quantity,
                "message": verdict.message if verdict.status == "PASS" else explain(verdict),
                "seconds": round(verdict.seconds, 2),
                "quantities": {
                    difference.quantity: _finite(difference.error)
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
    write_atomically(directory / "report.json", json.dumps(data, indent=1, allow_nan=False) + "\n")
    write_atomically(directory / "report.html", page(environment, verdicts, caught))


def page(
    environment: Mapping[str, str], verdicts: Sequence[Verdict], caught: Sequence[Caught]
) -> str:
    """A page that needs nothing else: verdicts, error by quantity, faults."""
    rows = "".join(_row(verdict) for verdict in verdicts)
    faults = "".join(
        f"<tr class={'PASS' if each.as_expected else 'FAIL'}><td>{html.escape(each.fault.name)}"
        f"<td>{html.escape(each.fault.port.name)}<td>{html.escape(each.sentence())}"
        for each in caught
    )
    planted = f"<h2>Planted faults</h2><p>{_score(caught)}</p><table>{faults}</table>"
    versions = ", ".join(f"{name} {value}" for name, value in environment.items())
    outcome = "All rungs hold" if passed(verdicts, caught) else "Not all rungs hold"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Parity</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 }}
td, th {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884;
  vertical-align: top }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
.PASS .v {{ color: #1a7f37 }} .FAIL .v, .FAIL {{ color: #d1242f }} .ABSENT .v {{ color: #9a6700 }}
summary {{ cursor: pointer }} svg {{ max-width: 100%; height: auto; background: #fff }}
</style>
<h1>Parity: {outcome}</h1>
<p>{html.escape(versions)}</p>
<table><tr><th>rung<th>original<th>case<th>worst quantity<th>error<th>bound<th>verdict{rows}</table>
{planted if caught else ""}
<h2>Error by quantity</h2>
{"".join(_plots(verdicts))}
</html>
"""


def _row(verdict: Verdict) -> str:
    check = verdict.check
    detail = explain(verdict) if verdict.status != "PASS" else verdict.message
    compared = bool(verdict.comparison.differences)
    cells = (
        ("", f"{check.rung} {RUNGS[check.rung]}"),
        ("", check.original),
        ("", f"{check.candidate}, {check.case}"),
        ("", (verdict.worst.quantity if compared else "–") + (f" – {detail}" if detail else "")),
        ("n", number(verdict.worst.error) if compared else "–"),
        ("n", number(check.bound)),
        ("v", verdict.status),
    )
    because = html.escape(check.because, quote=True)
    inside = "".join(f'<td class="{kind}">{html.escape(text)}' for kind, text in cells)
    return f'<tr class="{verdict.status}" title="{because}">{inside}'


def _plots(verdicts: Sequence[Verdict]) -> list[str]:
    plots = []
    for verdict in verdicts:
        found = [d for d in verdict.comparison.differences if math.isfinite(d.error)]
        if len(found) > 1 and any(d.error for d in found) and verdict.check.bound > 0:
            title = html.escape(verdict.check.title)
            plots.append(f"<details><summary>{title}</summary>{_plot(verdict)}</details>")
    return plots


def _plot(verdict: Verdict) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    found = [d for d in verdict.comparison.differences if math.isfinite(d.error)]
    # The order of computation, from the top; of long lists those that are farthest off.
    if len(found) > 60:
        farthest = sorted(found, key=lambda d: -d.error)[:60]
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
    # Text as text: a letter drawn as a path takes more space than the bars.
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"


def _score(caught: Sequence[Caught]) -> str:
    found = sum(each.as_expected for each in caught)
    return f"{found} of {len(caught)} planted faults found by the rung that is there for them."
