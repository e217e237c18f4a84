"""Where a report goes: into a folder of its own, over nothing, and never among the photos."""

from __future__ import annotations

import itertools
from pathlib import Path

from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.training.run import RunError, is_run, read_config

PAGE, NUMBERS = "report.html", "report.json"


def require_free(run: Path, out: Path | None, photos: Path | None) -> None:
    """Raise `RunError` if a report in `out` (by default in the run's folder) would harm something.

    Args:
        run: The run's folder.
        out: The report's.
        photos: The folder of photos; None for the run's own.
    """
    folder = _home(run) if out is None else out
    if photos is None and is_run(run):
        photos = read_config(run)[0].data
    if photos is not None and folder.resolve().is_relative_to(photos.resolve()):
        raise RunError(
            f"the report's folder {folder} lies in the photos' folder {photos}, which is never "
            "written to: name another with --out"
        )
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: name another folder with --out")
    for name in (PAGE, NUMBERS):
        if (out / name).exists():
            raise RunError(f"{out / name} is there already: name another folder with --out")


def write(run: Path, out: Path | None, page: str, numbers: object) -> Path:
    """Write a report, by default into a new folder of the run, and return its folder.

    Raises:
        RunError: If the folder cannot be written to.
    """
    try:
        if out is None:
            out = _new_folder(_home(run))
        else:
            out.mkdir(parents=True, exist_ok=True)
        write_json(out / NUMBERS, numbers)
        write_atomically(out / PAGE, page)
    except OSError as error:
        where = error.filename or out
        raise RunError(
            f"the report cannot be written ({where}: {(error.strerror or str(error)).lower()}): "
            "name a folder with --out"
        ) from error
    return out


def _home(run: Path) -> Path:
    """Where a run's reports are at home; a model in a file has none."""
    return run if is_run(run) else Path()


def _new_folder(run: Path) -> Path:
    for number in itertools.count(1):
        folder = run / ("evaluation" if number == 1 else f"evaluation-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError
