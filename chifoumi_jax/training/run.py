"""A run's folder: its configuration, its metrics, and the lock of the process that writes to it."""

import contextlib
import csv
import dataclasses
import fcntl
import io
import itertools
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from chifoumi_jax.errors import UserError
from chifoumi_jax.files import first_free, write_atomically, write_json
from chifoumi_jax.recipes import PATHS, Recipe

FORMAT_VERSION = 1
_TRAINING_PHOTOS = "photos.json"
_PACKAGES = (
    "chifoumi-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "pillow",
)


class RunError(UserError, RuntimeError):
    """A folder is not a run's, is in use, or does not fit the request."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A training, finished or not.

    Attributes:
        directory: Its folder.
        history: One mapping per epoch, as in `metrics.csv`.
        results: The content of `results.json`; empty before the end of the training.
    """

    directory: Path
    history: Sequence[Mapping[str, float]]
    results: Mapping[str, Any]

    @property
    def test_accuracy(self) -> float:
        """Share of the test images whose most probable class is their label.

        Raises:
            RunError: If the run is not finished, or had no test images.
        """
        if "test_accuracy" not in self.results:
            raise RunError(
                f"{self.directory} has no test accuracy: it is unfinished, so resume it, or it had "
                "no test images"
            )
        return float(self.results["test_accuracy"])


def is_run(directory: str | os.PathLike[str]) -> bool:
    """Whether this is a run's folder."""
    return (Path(directory) / "config.json").is_file()


def create(recipe: Recipe) -> int:
    """Make the folder `<runs>/<name>-<n>` with the first `n` that is free, and return `n`."""
    recipe.runs.mkdir(parents=True, exist_ok=True)
    return first_free(itertools.count(1), lambda number: directory(recipe, number).mkdir())


def directory(recipe: Recipe, number: int) -> Path:
    """The folder of a recipe's run with this number."""
    return recipe.runs / f"{recipe.name}-{number}"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the run's lock; the operating system releases it when the process ends.

    Raises:
        RunError: If another process holds it.
    """
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{directory} is in use by another process; wait for it") from None
        yield


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def write_config(directory: Path, recipe: Recipe, **facts: Any) -> None:
    """Write `config.json`: the recipe, the versions, and the given facts about this run."""
    fields = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(recipe).items()
    }
    write_json(
        directory / "config.json",
        {"format": FORMAT_VERSION, "recipe": fields, "versions": versions(), **facts},
    )


def write_training_photos(directory: Path, photos: Mapping[str, Sequence[str]]) -> None:
    """Write `photos.json`: for each split, the SHA-256 of each file that the training uses."""
    write_json(
        directory / _TRAINING_PHOTOS, {split: sorted(hashes) for split, hashes in photos.items()}
    )


def read_training_photos(directory: str | os.PathLike[str]) -> frozenset[str] | None:
    """The SHA-256 of all files that the training used; None if there is no `photos.json`.

    Raises:
        RunError: If the file was not written by a training, or is damaged.
    """
    path = Path(directory) / _TRAINING_PHOTOS
    try:
        splits = json.loads(path.read_bytes())
        return frozenset(str(digest) for hashes in splits.values() for digest in hashes)
    except (FileNotFoundError, NotADirectoryError):
        # A run of an earlier version, or a model without a run.
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}; copy the run again") from error


def _why_no_run(path: Path) -> str:
    """The end of an error message: what the path is instead of a run, and how to mend it."""
    if not path.exists():
        return "does not exist: check the path of the run's folder"
    if not path.is_dir():
        return "is a file: name a run's folder"
    inside = sorted(found.parent for found in path.glob("*/config.json"))
    hint = f"name a run inside it, such as {inside[-1]}" if inside else "check the path"
    return f"is not a run's folder: it holds no config.json; {hint}"


def read_config(directory: str | os.PathLike[str]) -> tuple[Recipe, dict[str, Any]]:
    """A run's recipe, and the whole content of its `config.json`.

    Raises:
        RunError: If the folder is not a run's, or was written by a later version.
    """
    path = Path(directory) / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{directory} {_why_no_run(Path(directory))}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}; copy the run again") from error
    if not isinstance(config, dict) or not {"format", "recipe"} <= config.keys():
        raise RunError(
            f"{path} was not written by a training: it lacks the format or the recipe; "
            "copy the run again"
        )
    version, fields = config["format"], config["recipe"]
    if version != FORMAT_VERSION:
        raise RunError(f"{path} has format {version}; this version reads {FORMAT_VERSION}")
    try:
        values: dict[str, Any] = {
            name: Path(value) if value is not None and name in PATHS else value
            for name, value in fields.items()
        }
        return Recipe(**values), config
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} does not hold a valid recipe: {error}") from error


def write_metrics(directory: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write `metrics.csv`, one row per epoch; a value that an epoch does not have stays empty."""
    if not history:
        return
    text = io.StringIO()
    columns = dict.fromkeys(name for row in history for name in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(directory / "metrics.csv", text.getvalue())


def read(directory: str | os.PathLike[str]) -> Run:
    """The run in `directory`, finished or not.

    Raises:
        RunError: If the folder is not a run's.
    """
    directory = Path(directory)
    read_config(directory)
    results: dict[str, Any] = {}
    if (directory / "results.json").exists():
        results = json.loads((directory / "results.json").read_bytes())
    return Run(directory, read_metrics(directory), results)


def read_metrics(directory: Path) -> list[dict[str, float]]:
    """One mapping per epoch of a run's `metrics.csv`; none if there is no such file."""
    if not (directory / "metrics.csv").exists():
        return []
    with (directory / "metrics.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
