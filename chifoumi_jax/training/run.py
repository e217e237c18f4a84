"""A run's folder: its configuration, its metrics, and the lock of whoever writes to it."""

import contextlib
import csv
import dataclasses
import fcntl
import io
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from chifoumi_jax.errors import UserError
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.recipes import PATHS, Recipe

FORMAT_VERSION = 1
_LEARNT = "photos.json"
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
    """A run's folder is not one, is in use, or does not fit what is asked of it."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A training, finished or not.

    Attributes:
        directory: Its folder.
        history: One mapping an epoch, as in `metrics.csv`.
        results: What `results.json` holds; empty before the end of the training.
    """

    directory: Path
    history: Sequence[Mapping[str, float]]
    results: Mapping[str, Any]

    @property
    def test_accuracy(self) -> float:
        """Share of the test images whose label was found.

        Raises:
            RunError: If the run is not finished, or had no test image.
        """
        if "test_accuracy" not in self.results:
            raise RunError(f"{self.directory} has no test accuracy: unfinished, or no test image")
        return float(self.results["test_accuracy"])


def is_run(directory: str | os.PathLike[str]) -> bool:
    """Whether this is a run's folder."""
    return (Path(directory) / "config.json").is_file()


def create(recipe: Recipe) -> int:
    """Make the folder `<runs>/<name>-<n>` with the first `n` that is free, and return `n`."""
    recipe.runs.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        try:
            directory(recipe, number).mkdir()
        except FileExistsError:
            number += 1
        else:
            return number


def directory(recipe: Recipe, number: int) -> Path:
    """The folder of a recipe's run of this number."""
    return recipe.runs / f"{recipe.name}-{number}"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the run's lock, which ends with the process however that ends.

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
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def write_config(directory: Path, recipe: Recipe, **facts: Any) -> None:
    """Write `config.json`: the recipe, the versions, and the given facts of this run."""
    fields = {
        name: str(value.absolute()) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(recipe).items()
    }
    write_json(
        directory / "config.json",
        {"format": FORMAT_VERSION, "recipe": fields, "versions": versions(), **facts},
    )


def write_learnt(directory: Path, photos: Mapping[str, Sequence[str]]) -> None:
    """Write `photos.json`: by split the SHA-256 of each file that the training goes by."""
    write_json(directory / _LEARNT, {split: sorted(hashes) for split, hashes in photos.items()})


def read_learnt(directory: str | os.PathLike[str]) -> frozenset[str] | None:
    """The SHA-256 of all files that the training went by; None if the run does not say.

    Raises:
        RunError: If the file is not what a training wrote.
    """
    path = Path(directory) / _LEARNT
    try:
        splits = json.loads(path.read_bytes())
        return frozenset(str(digest) for hashes in splits.values() for digest in hashes)
    except (FileNotFoundError, NotADirectoryError):
        # Of an earlier version, or a model without a run.
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}; copy the run again") from error


def _why_no_run(path: Path) -> str:
    """What a path is instead, and what to name."""
    if not path.exists():
        return "is not there: check the path of the run's folder"
    if not path.is_dir():
        return "is a file: name a run's folder"
    inside = sorted(found.parent for found in path.glob("*/config.json"))
    hint = f"name one of those inside, such as {inside[-1]}" if inside else "check the path"
    return f"is not a run's folder: it holds no config.json; {hint}"


def read_config(directory: str | os.PathLike[str]) -> tuple[Recipe, dict[str, Any]]:
    """A run's recipe and all of its `config.json`.

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
            f"{path} is not what a training wrote: it lacks the format or the recipe; "
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
        raise RunError(f"{path} does not hold a recipe: {error}") from error


def write_metrics(directory: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write `metrics.csv`, a row an epoch."""
    if not history:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(directory / "metrics.csv", text.getvalue())


def read(directory: str | os.PathLike[str]) -> Run:
    """The run in `directory`, as far as it got.

    Raises:
        RunError: If the folder is not a run's.
    """
    directory = Path(directory)
    read_config(directory)
    history: list[dict[str, float]] = []
    if (directory / "metrics.csv").exists():
        with (directory / "metrics.csv").open(newline="") as file:
            history = [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    results: dict[str, Any] = {}
    if (directory / "results.json").exists():
        results = json.loads((directory / "results.json").read_bytes())
    return Run(directory, history, results)
