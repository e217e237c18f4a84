"""Exports runs to every format: size, largest difference from JAX, and time for one photo.

    python -m benchmarks.exports runs/cnn-1 runs/transfer-1 --report report/exports

Each export is a `chifoumi export` in its own process, one after the other. That command measures
the times, and times JAX in turn with the export.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from benchmarks.measure import BaselineError, machine, run
from chifoumi_jax.export.formats import SUFFIXES, Format
from chifoumi_jax.export.verify import OURS
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.training.resources import gigabytes


@dataclasses.dataclass(frozen=True)
class Options:
    """Command line options.

    Attributes:
        runs: Folders of the runs.
        report: Folder for `exports.json` and `table.md`.
        only: Formats to export; all by default.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    report: Path = Path("report/exports")
    only: tuple[Format, ...] = tuple(SUFFIXES)


def measure(options: Options) -> Iterator[dict[str, Any]]:
    """Yield a row for each run and format: the JSON of `chifoumi export --json`, or its error."""
    for directory in options.runs:
        for target in options.only:
            for int8 in ([], ["--int8"]) if target == "onnx" else ([],):
                with tempfile.TemporaryDirectory() as folder:
                    out = Path(folder) / f"model{SUFFIXES[target]}"
                    arguments = ["export", directory, "--to", target, "--out", out, "--json", *int8]
                    row: dict[str, Any] = {
                        "run": str(directory),
                        "format": "onnx, 8 bits" if int8 else target,
                    }
                    try:
                        output = run([sys.executable, "-m", "chifoumi_jax.cli", *arguments])
                    except BaselineError as error:
                        row |= {"error": str(error)}
                    else:
                        row |= {"error": None, "file": out.name, **json.loads(output)}
                result = row["error"] or str(row["milliseconds"])
                print(f"{directory} {row['format']}: {result}", file=sys.stderr)
                yield row


def table(rows: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> str:
    """Format the rows as Markdown, one line for each export."""
    lines = [
        f"Machine: {host['cores']} cores of {host['processor']}; Python {host['python']}, "
        f"jax {host['jax']}.",
        "",
        "| run | format | size | logits, largest difference | one photo | JAX beside it |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["error"]:
            name = Path(row["run"]).name
            lines.append(f"| {name} | {row['format']} | not measured: {row['error']} | | | |")
            continue
        times = row["milliseconds"]
        cells = [
            Path(row["run"]).name,
            row["format"],
            gigabytes(row["sizes"][row["file"]]),
            _difference(row),
            f"{times[row['file']]:.3g} ms",
            f"{times[OURS]:.3g} ms",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(row: Mapping[str, Any]) -> str:
    if row["accuracies"]:
        before, after = row["accuracies"][OURS], row["accuracies"][row["file"]]
        return f"accuracy {before:.1%} → {after:.1%}"
    # The first check, whatever its name: a file that holds only weights has no logits.
    check = row["checks"][0]
    bound = f" (may be {check['bound']:.1e})" if check["bound"] else ""
    return f"{check['difference']:.2g}{bound}"


def main() -> None:
    """Export everything, and write the table."""
    options = tyro.cli(Options, description=__doc__)
    options.report.mkdir(parents=True, exist_ok=True)
    rows = list(measure(options))
    host = machine()
    write_json(options.report / "exports.json", {"machine": host, "exports": rows})
    text = table(rows, host)
    write_atomically(options.report / "table.md", text)
    print(text)
    if any(row["error"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
