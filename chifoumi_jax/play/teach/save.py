"""Saves the taught classes as a folder of photos that `chifoumi train` reads."""

import csv
import io
import itertools
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from chifoumi_jax.files import first_free, write_atomically
from chifoumi_jax.play.teach.classes import TaughtClass


class SavedPhotos(NamedTuple):
    """Paths of the saved classes.

    Attributes:
        photos: Folder with one subfolder of photos per class.
        groups: Table for `--groups`. Pictures from one hold of the button look almost the same, so
            they must all be in the same split.
    """

    photos: Path
    groups: Path


def save_photos(classes: Iterable[TaughtClass], folder: Path) -> SavedPhotos:
    """Save classes in `folder`, under the first free name `teach-photos-<n>`.

    The folder of photos appears complete or not at all, and nothing is overwritten.

    Raises:
        OSError: If a file or folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".teach-photos.", dir=folder))
    try:
        temporary.chmod(0o755)
        rows = [row for taught in classes for row in _write_class(temporary, taught)]
        photos = _move_to_free_name(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    groups = photos.with_suffix(".csv")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("path", "session"), *rows])
    write_atomically(groups, text.getvalue())
    return SavedPhotos(photos, groups)


def _write_class(root: Path, taught: TaughtClass) -> Iterable[tuple[str, str]]:
    (root / taught.name).mkdir()
    for number, frame in enumerate(taught.frames, start=1):
        path = f"{taught.name}/{number:04}.jpg"
        (root / path).write_bytes(frame.jpeg)
        yield path, f"{taught.name} {frame.hold}"


def _move_to_free_name(temporary: Path, folder: Path) -> Path:
    names = (folder / f"teach-photos-{number}" for number in itertools.count(1))
    # The empty folder reserves the name; a rename may replace it.
    return temporary.replace(first_free(names, Path.mkdir))
