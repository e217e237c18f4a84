"""Checkpoints that are read only if every byte is intact.

A checkpoint is a folder `checkpoints/<step>/` with Orbax's files, `progress.json` and
`manifest.json`. The manifest is written last and holds the SHA-256 of every other file. The folder
is built under a temporary name and renamed when it is complete. Readers take the newest checkpoint
whose files match its manifest.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from chifoumi_jax import distributed
from chifoumi_jax.errors import UserError
from chifoumi_jax.files import sha256, sync_directory, write_json

FORMAT_VERSION = 1
# The newest checkpoint, and the one before it in case the newest is damaged.
KEEP = 2


class CheckpointError(UserError, RuntimeError):
    """A checkpoint could not be written or read."""


def save(directory: Path, step: int, trees: dict[str, Any], progress: dict[str, Any]) -> Path:
    """Write a checkpoint and return its folder; replaces a checkpoint of the same step.

    Args:
        directory: The run's `checkpoints` folder; created if absent.
        step: Number of training steps so far.
        trees: Named pytrees of arrays.
        progress: What else a run needs in order to continue, as JSON.

    Raises:
        CheckpointError: If it could not be written (no space, no permission).
    """
    import orbax.checkpoint.experimental.v1 as ocp

    final = directory / f"{step:08d}"
    temporary = directory / f".{step:08d}.{distributed.broadcast_first(os.getpid())}.tmp"
    try:
        if distributed.is_first():
            directory.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
        # Every process calls Orbax, which lets one of them write the arrays that all have.
        ocp.save_checkpointables((temporary / "trees").absolute(), trees)
        if distributed.is_first():
            write_json(temporary / "progress.json", progress)
            hashes = {name: sha256(temporary / name) for name in _files(temporary)}
            manifest = {"version": FORMAT_VERSION, "sha256": hashes, "arrays": _arrays(trees)}
            write_json(temporary / "manifest.json", manifest)
            _sync(temporary)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            sync_directory(directory)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint of step {step} could not be saved in {directory}: {error}. "
            "Earlier checkpoints are intact; free disk space or permit writing, then resume the run"
        ) from error
    finally:
        if distributed.is_first():
            shutil.rmtree(temporary, ignore_errors=True)
    return final


def prune(directory: Path, best: int | None) -> None:
    """Remove all checkpoints except the `KEEP` newest ones and that of step `best`."""
    for step in steps(directory)[:-KEEP]:
        if step != best:
            shutil.rmtree(directory / f"{step:08d}")
    for leftover in directory.glob(".*.tmp"):
        shutil.rmtree(leftover)


def steps(directory: Path) -> list[int]:
    """Steps of all checkpoints, intact or damaged, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


def newest(directory: Path) -> tuple[int | None, list[str]]:
    """The newest intact checkpoint.

    Returns:
        Its step, or None if there is none; and for each newer one, what is wrong with it.
    """
    problems: list[str] = []
    for step in reversed(steps(directory)):
        problem = verify(directory / f"{step:08d}")
        if problem is None:
            return step, problems
        problems.append(problem)
    return None, problems


def best(directory: Path, newest: int) -> int:
    """Step of the best checkpoint, as the checkpoint of step `newest` recorded it."""
    progress = json.loads((directory / f"{newest:08d}" / "progress.json").read_bytes())
    step = progress["best_step"]
    return newest if step is None else int(step)


def verify(checkpoint: Path) -> str | None:
    """None if the checkpoint is intact, else one sentence that says what is wrong with it."""
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_bytes())
        version, hashes = manifest["version"], manifest["sha256"]
    except FileNotFoundError:
        return f"{checkpoint} has no manifest"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{checkpoint}/manifest.json cannot be read: {error}"
    if version != FORMAT_VERSION:
        return f"{checkpoint} has format {version}; this version reads {FORMAT_VERSION}"
    if not isinstance(hashes, dict) or set(hashes) != set(_files(checkpoint)):
        return f"{checkpoint} lacks files that its manifest names, or has extra files"
    for name, expected in hashes.items():
        if sha256(checkpoint / name) != expected:
            return f"{checkpoint}/{name} has changed since it was saved"
    return None


def load(checkpoint: Path, trees: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read some trees of a checkpoint, and its progress.

    Args:
        checkpoint: A folder that `save` returned.
        trees: The abstract tree of each wanted name, with `jax.ShapeDtypeStruct` leaves that have
            the wanted sharding.

    Raises:
        CheckpointError: If it is damaged, or lacks one of these trees with these shapes and dtypes.
    """
    import orbax.checkpoint.experimental.v1 as ocp

    if problem := verify(checkpoint):
        raise CheckpointError(problem)
    saved = json.loads((checkpoint / "manifest.json").read_bytes())["arrays"]
    for name, wanted in _arrays(trees).items():
        if saved.get(name) != wanted:
            raise CheckpointError(f"{checkpoint} does not hold the {name} of this model")
    try:
        loaded = ocp.load_checkpointables((checkpoint / "trees").absolute(), trees)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{checkpoint} cannot be read: {error}") from error
    progress: dict[str, Any] = json.loads((checkpoint / "progress.json").read_bytes())
    return dict(loaded), progress


def size(trees: dict[str, Any]) -> int:
    """Approximate size in bytes of a checkpoint of these trees."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trees))


def _arrays(trees: dict[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Dtype and shape of every array, by the name of its tree and its path in the tree."""
    return {
        name: {
            jax.tree_util.keystr(path): [str(leaf.dtype), *leaf.shape]
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        for name, tree in trees.items()
    }


def _files(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        if path.is_file() and path != directory / "manifest.json":
            yield path.relative_to(directory).as_posix()


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_dir():
            sync_directory(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
