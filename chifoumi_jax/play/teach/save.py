"""Saving what is taught, as a folder of photos that `chifoumi train` reads."""

import csv
import io
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from chifoumi_jax.files import write_atomically
from chifoumi_jax.play.teach.classes import Taught


class Album(NamedTuple):
    """A saved lesson.

    Attributes:
        photos: Folder `<class>/<photos>`.
        groups: A table for `--groups`: pictures of one hold of the button look alike, and must not
            be on both sides of a test.
    """

    photos: Path
    groups: Path


def save_album(lesson: Iterable[Taught], folder: Path) -> Album:
    """Save a lesson under the first free name `teach-photos-<n>` of a folder.

    It appears complete or not at all, and nothing is overwritten.

    Raises:
        OSError: If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".teach-photos.", dir=folder))
    try:
        temporary.chmod(0o755)
        rows = [row for taught in lesson for row in _write_class(temporary, taught)]
        photos = _take_name(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    groups = photos.with_suffix(".csv")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("path", "session"), *rows])
    write_atomically(groups, text.getvalue())
    return Album(photos, groups)


def _write_class(root: Path, taught: Taught) -> Iterable[tuple[str, str]]:
    (root / taught.name).mkdir()
    for number, frame in enumerate(taught.frames, start=1):
        path = f"{taught.name}/{number:04}.jpg"
        (root / path).write_bytes(frame.jpeg)
        yield path, f"{taught.name} {frame.hold}"


def _take_name(temporary: Path, folder: Path) -> Path:
    number = 1
    while True:
        photos = folder / f"teach-photos-{number}"
        try:
            # Whoever makes the folder has the name; an empty folder may be replaced.
            photos.mkdir()
        except FileExistsError:
            number += 1
            continue
        return temporary.replace(photos)
