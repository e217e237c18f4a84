"""Selects the files of each split, as far as that is possible before decoding."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chifoumi_jax.data.folder.layout import Candidate, Layout
from chifoumi_jax.data.folder.lists import read_list
from chifoumi_jax.data.problems import DataError, Problem, ProblemKind
from chifoumi_jax.text import printable

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Chosen = dict[Split, list[Candidate]]

# A listed file with one of these problems exists, and the problem reports it.
_EXISTING_FILE = {
    ProblemKind.UNREADABLE,
    ProblemKind.SPECIAL_FILE,
    ProblemKind.BAD_LINK,
    ProblemKind.UNKNOWN_EXTENSION,
    ProblemKind.OUTSIDE_CLASS,
}


@dataclass(frozen=True)
class Lists:
    """The paths of the file lists; None if there is no list."""

    train: tuple[str, ...] | None
    test: tuple[str, ...] | None


def read_lists(
    train_list: Path | None,
    test_list: Path | None,
    layout: Layout,
    problems: Iterable[Problem],
) -> Lists:
    """Read both file lists, each of which may be absent.

    Raises:
        DataError: As `lists.read_list` does, and if a path is in both.
    """
    existing = {
        path for problem in problems if problem.kind in _EXISTING_FILE for path in problem.paths
    }
    pictures = {candidate.path for candidate in layout.candidates}

    def is_known(path: str) -> bool:
        return path in pictures or not existing.isdisjoint(_with_parents(path))

    train = None if train_list is None else read_list(train_list, is_known)
    test = None if test_list is None else read_list(test_list, is_known)
    if both := sorted(set(train or ()) & set(test or ())):
        raise DataError(
            f"{printable(both[0])} is in both {printable(str(train_list))} and "
            f"{printable(str(test_list))} ({len(both)} such paths); remove it from one of them"
        )
    return Lists(train, test)


def select(layout: Layout, lists: Lists) -> Chosen:
    """Assign the candidates to splits, by folders and by lists.

    A list replaces the folder of its split. It may name files of other folders, which then leave
    the split of their folder. Without split folders, one list assigns all other files to the other
    split. Without split folders and lists, all files are training photos.
    """
    listed: dict[str, Split] = dict.fromkeys(lists.train or (), "train")
    listed |= dict.fromkeys(lists.test or (), "test")
    folder_split: Mapping[str | None, Split | None] = {
        "train": "train" if lists.train is None else None,
        "valid": "valid",
        "test": "test" if lists.test is None else None,
        None: _default_split(lists),
    }
    chosen: Chosen = {"train": [], "valid": [], "test": []}
    for candidate in layout.candidates:
        split = listed.get(candidate.path, folder_split[candidate.split])
        if split is not None:
            chosen[split].append(candidate)
    return chosen


def has_test(layout: Layout, lists: Lists) -> bool:
    """Whether folders or lists define the test photos."""
    return (
        lists.test is not None
        or "test" in layout.splits
        or (not layout.splits and lists.train is not None)
    )


def relevant_problems(problems: Iterable[Problem], layout: Layout, lists: Lists) -> list[Problem]:
    """The relevant problems: with both lists only those of listed files, and in `valid`."""
    if lists.train is None or lists.test is None:
        return list(problems)
    listed = {part for path in (*lists.train, *lists.test) for part in _with_parents(path)}
    return [
        problem
        for problem in problems
        if any(
            path in listed or layout.split_of.get(path.split("/")[0]) == "valid"
            for path in problem.paths
        )
    ]


def filter_candidates(chosen: Chosen, is_wanted: Callable[[Candidate], bool]) -> Chosen:
    """The candidates of each split for which `is_wanted` is true."""
    return {split: [c for c in candidates if is_wanted(c)] for split, candidates in chosen.items()}


def classes_without_training(chosen: Chosen) -> list[Problem]:
    """A problem for each class with photos to test or validate on, but none to train on."""
    trained = {candidate.class_name for candidate in chosen["train"]}
    return _outside_classes(chosen, trained, ProblemKind.CLASS_NOT_IN_TRAIN)


def unknown_classes(chosen: Chosen, classes: Collection[str]) -> list[Problem]:
    """A problem for each class that is not one of `classes`."""
    return _outside_classes(chosen, classes, ProblemKind.UNKNOWN_CLASS)


def _outside_classes(chosen: Chosen, classes: Collection[str], kind: ProblemKind) -> list[Problem]:
    outside: dict[str, list[str]] = {}
    for split in SPLITS:
        for candidate in chosen[split]:
            if candidate.class_name not in classes:
                outside.setdefault(candidate.class_name, []).append(candidate.path)
    return [Problem(kind, tuple(paths), f"class {name}") for name, paths in outside.items()]


def _default_split(lists: Lists) -> Split | None:
    if lists.train is None:
        return "train"
    return "test" if lists.test is None else None


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
