"""Output of commands: tables, counts, errors and warnings."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chifoumi_jax.text import printable


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; all columns but the first are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD)
    for column, name in enumerate(header):
        table.add_column(Text(printable(name)), justify="left" if column == 0 else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    # Lines are not wrapped in output that goes to a file or another program.
    width = None if sys.stdout.isatty() else 500
    Console(highlight=False, width=width).print(table)


def count(number: int, thing: str) -> str:
    """`No photo`, `1 photo`, `2 photos`."""
    return f"{number or 'No'} {thing}{'' if number == 1 else 's'}"


def sentence(error: Exception) -> str:
    """An error's message; for an operating system error, the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning without the place in the code that raised it."""
    print(f"warning: {message}", file=sys.stderr)
