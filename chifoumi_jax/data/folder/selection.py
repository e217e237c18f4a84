"""Which files of a folder are used, and for what, as far as that is known before decoding."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chifoumi_jax.data.folder.layout import Candidate, Layout
from chifoumi_jax.data.folder.lists import read_list
from chifoumi_jax.data.problems import DataError, Kind, Problem
from chifoumi_jax.text import printable

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
Chosen = dict[Split, list[Candidate]]

# A listed file with such a problem was found, and is reported by it.
_FOUND = {
    Kind.UNREADABLE,
    Kind.SPECIAL_FILE,
    Kind.BAD_LINK,
    Kind.UNKNOWN_EXTENSION,
    Kind.OUTSIDE_CLASS,
}


@dataclass(frozen=True)
class Lists:
    """The paths of the file lists; None where there is no list."""

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
    found = {path for problem in problems if problem.kind in _FOUND for path in problem.paths}
    pictures = {candidate.path for candidate in layout.candidates}

    def is_known(path: str) -> bool:
        return path in pictures or not found.isdisjoint(_with_parents(path))

    train = None if train_list is None else read_list(train_list, is_known)
    test = None if test_list is None else read_list(test_list, is_known)
    if both := sorted(set(train or ()) & set(test or ())):
        raise DataError(
            f"{printable(both[0])} stands in both {printable(str(train_list))} and "
            f"{printable(str(test_list))} ({len(both)} such); remove it from one"
        )
    return Lists(train, test)


def select(layout: Layout, lists: Lists) -> Chosen:
    """Which candidates are for which split, by folders and by lists.

    A list replaces its split's folder and may name files of other folders, which then leave
    theirs. Without split folders, one list leaves all other files to the other side. What nothing
    assigns is to train on.
    """
    listed: dict[str, Split] = dict.fromkeys(lists.train or (), "train")
    listed |= dict.fromkeys(lists.test or (), "test")
    by_default: Mapping[str | None, Split | None] = {
        "train": "train" if lists.train is None else None,
        "valid": "valid",
        "test": "test" if lists.test is None else None,
        None: _rest(lists),
    }
    chosen: Chosen = {"train": [], "valid": [], "test": []}
    for candidate in layout.candidates:
        split = listed.get(candidate.path, by_default[candidate.split])
        if split is not None:
            chosen[split].append(candidate)
    return chosen


def has_test(layout: Layout, lists: Lists) -> bool:
    """Whether folders or lists say what to test on."""
    return (
        lists.test is not None
        or "test" in layout.splits
        or (not layout.splits and lists.train is not None)
    )


def concerning(problems: Iterable[Problem], layout: Layout, lists: Lists) -> list[Problem]:
    """The problems that matter: with both lists only those of listed files, and in `valid`."""
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


def keep(chosen: Chosen, is_wanted: Callable[[Candidate], bool]) -> Chosen:
    """The candidates that are wanted, split by split."""
    return {split: [c for c in candidates if is_wanted(c)] for split, candidates in chosen.items()}


def without_training(chosen: Chosen) -> list[Problem]:
    """A problem for each class that is there to test or validate on, but not to train on."""
    trained = {candidate.class_name for candidate in chosen["train"]}
    return _strays(chosen, trained, Kind.CLASS_NOT_IN_TRAIN)


def without_class(chosen: Chosen, classes: Collection[str]) -> list[Problem]:
    """A problem for each class that is none of `classes`."""
    return _strays(chosen, classes, Kind.UNKNOWN_CLASS)


def _strays(chosen: Chosen, classes: Collection[str], kind: Kind) -> list[Problem]:
    strays: dict[str, list[str]] = {}
    for split in SPLITS:
        for candidate in chosen[split]:
            if candidate.class_name not in classes:
                strays.setdefault(candidate.class_name, []).append(candidate.path)
    return [Problem(kind, tuple(paths), f"class {name}") for name, paths in strays.items()]


def _rest(lists: Lists) -> Split | None:
    if lists.train is None:
        return "train"
    return "test" if lists.test is None else None


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
