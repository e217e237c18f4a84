"""From the files of a folder to its classes and splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from chifoumi_jax.data.folder.walk import Tree
from chifoumi_jax.data.problems import DataError, Kind, Problem
from chifoumi_jax.text import printable

EXTENSIONS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".hif"),
}
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Candidate:
    """A file that should be a photo.

    Attributes:
        path: Relative to the scanned folder.
        class_name: The name of its class.
        folder: Its class's folder, relative to the scanned one.
        split: "train", "valid" or "test", or None without split folders.
    """

    path: str
    class_name: str
    folder: str
    split: str | None


@dataclass(frozen=True)
class Layout:
    """What a folder offers.

    Attributes:
        candidates: Sorted by class, then by path.
        split_of: What split each split folder is; empty for class folders at the top.
        problems: What is no candidate, and class folders without any.
    """

    candidates: tuple[Candidate, ...]
    split_of: Mapping[str, str]
    problems: tuple[Problem, ...]

    @property
    def splits(self) -> frozenset[str]:
        """The splits that have a folder."""
        return frozenset(self.split_of.values())


def arrange(tree: Tree, *, needs_train: bool = True) -> Layout:
    """Read `<class>/**` or `{train,valid,test}/<class>/**` from a folder's files.

    The letters' case of a split folder's name plays no part; `val`, `validation`, `training` and
    `testing` are known too. A class's photos may lie in folders within its folder. What lies
    beside the class folders and has no picture's extension (a readme, a list) is nobody's
    business.

    Raises:
        DataError: If split folders and class folders stand side by side, if two folders are the
            same split, or if there are split folders but none to train on and `needs_train`.
    """
    split_of = _split_folders(tree, needs_train)
    depth = 2 if split_of else 1
    candidates: list[Candidate] = []
    problems: list[Problem] = []
    for path in tree.files:
        parts = path.split("/")
        is_picture = has_extension(path)
        if len(parts) <= depth:
            if is_picture:
                problems.append(Problem(Kind.OUTSIDE_CLASS, (path,)))
        elif split_of and parts[0] not in split_of:
            continue
        elif is_picture:
            folder = "/".join(parts[:depth])
            candidates.append(Candidate(path, parts[depth - 1], folder, split_of.get(parts[0])))
        else:
            problems.append(Problem(Kind.UNKNOWN_EXTENSION, (path,)))
    filled = {candidate.folder for candidate in candidates}
    problems += [
        Problem(Kind.EMPTY_CLASS, (folder,))
        for folder in tree.folders
        if folder.count("/") == depth - 1
        and folder not in filled
        and (not split_of or folder.split("/")[0] in split_of)
    ]
    candidates.sort(key=lambda candidate: (candidate.class_name, candidate.path))
    return Layout(tuple(candidates), split_of, tuple(problems))


def has_extension(path: str) -> bool:
    """Whether a file is called as pictures are."""
    return PurePosixPath(path).suffix.lower() in EXTENSIONS


def _split_folders(tree: Tree, needs_train: bool) -> dict[str, str]:
    """Folder name → split, of the split folders at the top."""
    tops = [folder for folder in tree.folders if "/" not in folder]
    split_of = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    if not split_of:
        return {}
    if len(set(split_of.values())) < len(split_of):
        names = ", ".join(map(printable, sorted(split_of)))
        raise DataError(f"two folders are the same split: {names}; merge them, or rename one")
    with_pictures = {
        path.split("/")[0] for path in tree.files if "/" in path and has_extension(path)
    }
    if others := sorted(with_pictures - split_of.keys()):
        raise DataError(
            f"split folders ({', '.join(map(printable, sorted(split_of)))}) and class folders "
            f"({', '.join(map(printable, others))}) stand side by side; "
            "put each class into a split folder, or remove the split folders"
        )
    if needs_train and "train" not in split_of.values():
        names = ", ".join(map(printable, sorted(split_of)))
        raise DataError(f"there is no folder train beside {names}; add it, or remove the split")
    return split_of
