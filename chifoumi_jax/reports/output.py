"""The report's folder: never inside the photos' folder, and no file is overwritten."""

from __future__ import annotations

import itertools
from pathlib import Path

from chifoumi_jax.files import first_free, write_atomically, write_json
from chifoumi_jax.training.run import RunError, is_run, read_config

PAGE, NUMBERS = "report.html", "report.json"


def require_free(run: Path, out: Path | None, photos: Path | None) -> None:
    """Raise `RunError` if the report's folder lies in the photos' folder or holds a report.

    Args:
        run: The run's folder.
        out: The report's folder; None for a new folder inside the run's folder.
        photos: The photos' folder; None for the folder of the run's own photos.
    """
    folder = _default_parent(run) if out is None else out
    if photos is None and is_run(run):
        photos = read_config(run)[0].data
    if photos is not None and folder.resolve().is_relative_to(photos.resolve()):
        raise RunError(
            f"the report's folder {folder} lies in the photos' folder {photos}, which is never "
            "written to: name another folder with --out"
        )
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: name a folder with --out")
    for name in (PAGE, NUMBERS):
        if (out / name).exists():
            raise RunError(f"{out / name} exists already: name another folder with --out")


def write(run: Path, out: Path | None, page: str, numbers: object) -> Path:
    """Write a report and return its folder.

    Args:
        run: The run's folder.
        out: The report's folder; None for the first unused name of `evaluation`, `evaluation-2`, …
            in the run's folder, or in the current folder if the model has no run's folder.
        page: The HTML page.
        numbers: The content of `report.json`.

    Raises:
        RunError: If the folder cannot be written to.
    """
    try:
        if out is None:
            out = _new_folder(_default_parent(run))
        else:
            out.mkdir(parents=True, exist_ok=True)
        write_json(out / NUMBERS, numbers)
        write_atomically(out / PAGE, page)
    except OSError as error:
        path = error.filename or out
        raise RunError(
            f"the report cannot be written ({path}: {(error.strerror or str(error)).lower()}): "
            "name another folder with --out"
        ) from error
    return out


def _default_parent(run: Path) -> Path:
    """The run's folder; for a model in a file the current folder."""
    return run if is_run(run) else Path()


def _new_folder(parent: Path) -> Path:
    folders = (
        parent / ("evaluation" if number == 1 else f"evaluation-{number}")
        for number in itertools.count(1)
    )
    return first_free(folders, Path.mkdir)
