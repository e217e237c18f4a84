"""Every export of some runs: size, largest difference from JAX, and the time that a photo takes.

    python -m benchmarks.exports runs/cnn-1 runs/transfer-1 --report report/exports

Each export is a `chifoumi export` in a process of its own, one after the other; the times are those
that it measures, JAX' own beside it in turn.
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
class Exports:
    """What to export.

    Attributes:
        runs: The runs' folders.
        report: Folder for `exports.json` and `table.md`.
        only: Which formats; all by default.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    report: Path = Path("report/exports")
    only: tuple[Format, ...] = tuple(SUFFIXES)


def measure(options: Exports) -> Iterator[dict[str, Any]]:
    """What `chifoumi export --json` says of each run and format, or why it says nothing."""
    for directory in options.runs:
        for to in options.only:
            for more in ([], ["--int8"]) if to == "onnx" else ([],):
                with tempfile.TemporaryDirectory() as folder:
                    out = Path(folder) / f"model{SUFFIXES[to]}"
                    words = ["export", directory, "--to", to, "--out", out, "--json", *more]
                    row: dict[str, Any] = {
                        "run": str(directory),
                        "format": "onnx, 8 bits" if more else to,
                    }
                    try:
                        said = run([sys.executable, "-m", "chifoumi_jax.cli", *words])
                    except BaselineError as error:
                        row |= {"error": str(error)}
                    else:
                        row |= {"error": None, "file": out.name, **json.loads(said)}
                said = row["error"] or str(row["milliseconds"])
                print(f"{directory} {row['format']}: {said}", file=sys.stderr)
                yield row


def table(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Markdown: a line for each export."""
    lines = [
        f"Machine: {about['cores']} cores of {about['processor']}; Python {about['python']}, "
        f"jax {about['jax']}.",
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
    # A file that holds the weights alone has no logits of its own.
    check = row["checks"][0]
    bound = f" (may be {check['bound']:.1e})" if check["bound"] else ""
    return f"{check['difference']:.2g}{bound}"


def main() -> None:
    """Export everything, and write the table."""
    options = tyro.cli(Exports, description=__doc__)
    options.report.mkdir(parents=True, exist_ok=True)
    rows = list(measure(options))
    about = machine()
    write_json(options.report / "exports.json", {"machine": about, "exports": rows})
    text = table(rows, about)
    write_atomically(options.report / "table.md", text)
    print(text)
    if any(row["error"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
