"""Writes measurements as a Markdown table and as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Case


def table(cases: Sequence[Case], machine: dict[str, Any]) -> str:
    """Format the cases as Markdown, one section for each."""
    lines = [
        f"Machine: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_bytes'] / 1e9:.0f} GB; {', '.join(machine['devices'])}; "
        f"Python {machine['python']}, jax {machine['jax']}.",
    ]
    for case in cases:
        unit = case.unit
        lines += [
            "",
            f"### {case.name}",
            "",
            f"| | median, {unit} | range | peak memory | over ours |",
        ]
        lines.append("|---|---|---|---|---|")
        for row in case.rows:
            if row.error is not None:
                lines.append(f"| {row.name} | not measured: {row.error} | | | |")
                continue
            is_ours = row is case.rows[0] or row.name.isdecimal()
            ratio = "" if is_ours else f"{case.ratio(row):.2f} x"
            lines.append(
                f"| {row.name}{_versions(row.versions)} | **{row.median:.3g}** "
                f"| {min(row.values):.3g} to {max(row.values):.3g} ({len(row.values)}) "
                f"| {_memory(row.peak_bytes)} | {ratio} |"
            )
    return "\n".join(lines) + "\n"


def _memory(peak_bytes: int) -> str:
    """Peak memory in gigabytes; empty where it was not measured."""
    return f"{peak_bytes / 1e9:.2g} GB" if peak_bytes else ""


def plot(case: Case, path: Path) -> None:
    """Draw a bar for each baseline, or a line if all rows are numbers, with ranges of values."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = [row for row in case.rows if row.error is None]
    medians = [row.median for row in rows]
    spread = [
        [row.median - min(row.values) for row in rows],
        [max(row.values) - row.median for row in rows],
    ]
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(7, 0.5 * len(rows) + 1.6), layout="constrained")
        axes = figure.add_subplot()
        if all(row.name.isdecimal() for row in rows):
            figure.set_size_inches(6, 4)
            quantity = case.name.rpartition(", by ")[2]
            values = [int(row.name) for row in rows]
            axes.errorbar(values, medians, spread, marker="o", capsize=3)
            axes.set(xscale="log", yscale="log", xlabel=quantity, ylabel=case.unit)
            axes.set_xticks(values, [f"{value:,}" for value in values])
            axes.minorticks_off()
            # At least a decade, so that noise does not look like growth.
            low, high = axes.get_ylim()
            middle = (low * high) ** 0.5
            axes.set_ylim(min(low, middle / 10**0.5), max(high, middle * 10**0.5))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.grid(alpha=0.3)
        else:
            colours = ["#2a6f97"] + ["#adb5bd"] * (len(rows) - 1)
            bars = axes.barh([row.name for row in rows], medians, xerr=spread, color=colours)
            axes.bar_label(bars, [f" {value:.3g}" for value in medians], padding=4)
            axes.invert_yaxis()
            axes.set(xlabel=case.unit, xlim=(0, 1.15 * max(max(row.values) for row in rows)))
            axes.spines[["top", "right"]].set_visible(False)
        better = "more is better" if case.more_is_better else "less is better"
        axes.set_title(f"{case.name}\n({better})", loc="left", fontsize=10)
        figure.savefig(path, dpi=120)


def _versions(versions: dict[str, str]) -> str:
    named = [f"{name} {version}" for name, version in versions.items() if name != "python"]
    return f" ({', '.join(named)})" if named else ""
