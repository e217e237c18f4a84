"""Finds leakage: the same picture, or the same session, in several splits."""

from collections.abc import Mapping, Sequence

from chifoumi_jax.data.folder.photo import Photo
from chifoumi_jax.data.folder.selection import Split
from chifoumi_jax.data.problems import Problem, ProblemKind


def find_duplicates(splits: Mapping[Split, Sequence[Photo]]) -> list[Problem]:
    """Photos with the same bytes: in several splits or classes, or twice in one class."""
    copies: dict[str, list[tuple[Split, Photo]]] = {}
    for split, photos in splits.items():
        for photo in photos:
            copies.setdefault(photo.sha256, []).append((split, photo))
    problems = []
    for found in copies.values():
        if len(found) == 1:
            continue
        paths = tuple(photo.path for _, photo in found)
        split_names = {split for split, _ in found}
        labels = {photo.label for _, photo in found}
        if len(split_names) > 1:
            problems.append(Problem(ProblemKind.LEAKAGE, paths, _joined(split_names)))
        if len(labels) > 1:
            problems.append(Problem(ProblemKind.LABEL_CONFLICT, paths))
        if len(split_names) == len(labels) == 1:
            problems.append(Problem(ProblemKind.DUPLICATE, paths))
    return problems


def find_split_sessions(
    splits: Mapping[Split, Sequence[Photo]], sessions: Mapping[str, str]
) -> list[Problem]:
    """Sessions with photos in several splits; photos without a session are ignored."""
    members: dict[str, list[tuple[Split, str]]] = {}
    for split, photos in splits.items():
        for photo in photos:
            if photo.path in sessions:
                members.setdefault(sessions[photo.path], []).append((split, photo.path))
    return [
        Problem(
            ProblemKind.SESSION_LEAKAGE,
            tuple(path for _, path in found),
            f"session {session} in {_joined({split for split, _ in found})}",
        )
        for session, found in members.items()
        if len({split for split, _ in found}) > 1
    ]


def _joined(splits: set[Split]) -> str:
    return " and ".join(sorted(splits))
