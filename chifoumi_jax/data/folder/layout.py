"""Derives the classes and splits of a folder from its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from chifoumi_jax.data.folder.walk import Tree
from chifoumi_jax.data.problems import DataError, Problem, ProblemKind
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
        class_name: Name of its class.
        folder: Folder of its class, relative to the scanned folder.
        split: "train", "valid" or "test", or None without split folders.
    """

    path: str
    class_name: str
    folder: str
    split: str | None


@dataclass(frozen=True)
class Layout:
    """Candidates and split folders of a folder.

    Attributes:
        candidates: Candidates, sorted by class, then by path.
        split_of: Split of each split folder; empty if the class folders are at the top.
        problems: Files that are no candidates, and class folders without candidates.
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

    Names of split folders may be in upper or lower case; `val`, `validation`, `training` and
    `testing` are accepted too. Photos of a class may be in subfolders of its folder. Files beside
    the class folders without a picture's extension (a readme, a list) are ignored.

    Raises:
        DataError: If split folders and class folders are side by side, if two folders are the same
            split, or if there are split folders without a training folder and `needs_train`.
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
                problems.append(Problem(ProblemKind.OUTSIDE_CLASS, (path,)))
        elif split_of and parts[0] not in split_of:
            continue
        elif is_picture:
            folder = "/".join(parts[:depth])
            candidates.append(Candidate(path, parts[depth - 1], folder, split_of.get(parts[0])))
        else:
            problems.append(Problem(ProblemKind.UNKNOWN_EXTENSION, (path,)))
    filled = {candidate.folder for candidate in candidates}
    problems += [
        Problem(ProblemKind.EMPTY_CLASS, (folder,))
        for folder in tree.folders
        if folder.count("/") == depth - 1
        and folder not in filled
        and (not split_of or folder.split("/")[0] in split_of)
    ]
    candidates.sort(key=lambda candidate: (candidate.class_name, candidate.path))
    return Layout(tuple(candidates), split_of, tuple(problems))


def has_extension(path: str) -> bool:
    """Whether a file's name has a picture's extension."""
    return PurePosixPath(path).suffix.lower() in EXTENSIONS


def _split_folders(tree: Tree, needs_train: bool) -> dict[str, str]:
    """Split of each split folder at the top, by folder name."""
    top_folders = [folder for folder in tree.folders if "/" not in folder]
    split_of = {
        folder: SPLIT_NAMES[folder.lower()]
        for folder in top_folders
        if folder.lower() in SPLIT_NAMES
    }
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
            f"({', '.join(map(printable, others))}) are side by side; "
            "put each class into a split folder, or remove the split folders"
        )
    if needs_train and "train" not in split_of.values():
        names = ", ".join(map(printable, sorted(split_of)))
        raise DataError(
            f"there is no folder train beside {names}; add it, or remove the split folders"
        )
    return split_of
