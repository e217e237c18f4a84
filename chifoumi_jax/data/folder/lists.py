"""Reads the user's files that name photos: file lists, and the table of capture sessions."""

import csv
import io
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from chifoumi_jax.data.decode import read_bytes
from chifoumi_jax.data.problems import DataError, ImageProblem
from chifoumi_jax.text import printable

# Enough for half a million rows or more; a larger file is hardly meant as a list.
MAX_BYTES = 64 * 2**20
_COLUMNS = ("path", "session")


def read_list(file: Path, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    """The paths in a file list: one per line, relative to the folder of photos, with `/`.

    Blank lines, and lines that start with `#`, are ignored.

    Args:
        file: A text file in UTF-8.
        is_known: Whether the folder contains a path.

    Raises:
        DataError: If the file cannot be read or names no path, or if a path is absolute, leads
            outside the folder, does not exist or is listed twice; the message names file, line and
            path.
    """
    lines: dict[str, int] = {}
    for number, line in enumerate(_text(file).split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        location = f"{printable(str(file))}, line {number}"
        path = _relative(line, location)
        if path in lines:
            raise DataError(
                f"{location}: {printable(path)} is already in line {lines[path]}; remove one"
            )
        if not is_known(path):
            raise DataError(f"{location}: the folder has no picture {printable(path)}")
        lines[path] = number
    if not lines:
        raise DataError(f"{printable(str(file))} names no file; write one path per line")
    return tuple(lines)


def read_groups(file: Path) -> dict[str, str]:
    """Each photo's capture session, from a CSV file with the columns `path` and `session`.

    Paths are relative to the folder of photos, with `/`. Other columns, and white space around a
    cell, are ignored.

    Raises:
        DataError: If the file cannot be read, lacks a column or has it twice, has a row without a
            path or a session, or puts a path into two sessions; the message names file and line.
    """
    name = printable(str(file))
    sessions: dict[str, str] = {}
    rows = csv.reader(io.StringIO(_text(file), newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if sorted(cell for cell in header if cell in _COLUMNS) != sorted(_COLUMNS):
            raise DataError(
                f"{name}: the first line must be path,session, or have these two columns among "
                f"others, with commas between them; it is {printable(','.join(header)) or 'empty'}"
            )
        column_indices = [header.index(column) for column in _COLUMNS]
        for row in rows:
            if not row:
                continue
            location = f"{name}, line {rows.line_num}"
            cells = [row[index].strip() if index < len(row) else "" for index in column_indices]
            if not all(cells):
                raise DataError(f"{location}: expected a path and a session")
            path, session = _relative(cells[0], location), cells[1]
            if sessions.setdefault(path, session) != session:
                raise DataError(
                    f"{location}: {printable(path)} is in session {printable(session)}, but an "
                    f"earlier line puts it in {printable(sessions[path])}; remove one of them"
                )
    except csv.Error as error:
        raise DataError(f"{name}, line {rows.line_num}: not a CSV file ({error})") from error
    return sessions


def _text(file: Path) -> str:
    name = printable(str(file))
    try:
        return read_bytes(file, max_bytes=MAX_BYTES).decode("utf-8-sig")
    except ImageProblem as problem:
        raise DataError(f"{name}: {problem.detail}; expected a text file") from problem
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 (byte {error.start}); save it as UTF-8") from error


def _relative(text: str, location: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or PureWindowsPath(text).is_absolute() or ".." in path.parts:
        raise DataError(
            f"{location}: {printable(text)} is not a path within the folder of photos; "
            "write it relative to that folder, without .."
        )
    return str(path)
