"""What makes a test dishonest: the same picture, or the same session, on both sides."""

from collections.abc import Mapping, Sequence

from chifoumi_jax.data.folder.photo import Photo
from chifoumi_jax.data.folder.selection import Split
from chifoumi_jax.data.problems import Kind, Problem


def find_duplicates(splits: Mapping[Split, Sequence[Photo]]) -> list[Problem]:
    """Photos with the same bytes: in several splits, in several classes, or merely twice."""
    copies: dict[str, list[tuple[Split, Photo]]] = {}
    for split, photos in splits.items():
        for photo in photos:
            copies.setdefault(photo.sha256, []).append((split, photo))
    problems = []
    for found in copies.values():
        if len(found) == 1:
            continue
        paths = tuple(photo.path for _, photo in found)
        sides = {split for split, _ in found}
        labels = {photo.label for _, photo in found}
        if len(sides) > 1:
            problems.append(Problem(Kind.LEAKAGE, paths, _sides(sides)))
        if len(labels) > 1:
            problems.append(Problem(Kind.LABEL_CONFLICT, paths))
        if len(sides) == len(labels) == 1:
            problems.append(Problem(Kind.DUPLICATE, paths))
    return problems


def find_split_sessions(
    splits: Mapping[Split, Sequence[Photo]], sessions: Mapping[str, str]
) -> list[Problem]:
    """Sessions with photos in several splits; photos without a session play no part."""
    members: dict[str, list[tuple[Split, str]]] = {}
    for split, photos in splits.items():
        for photo in photos:
            if photo.path in sessions:
                members.setdefault(sessions[photo.path], []).append((split, photo.path))
    return [
        Problem(
            Kind.SESSION_LEAKAGE,
            tuple(path for _, path in found),
            f"session {session} in {_sides({split for split, _ in found})}",
        )
        for session, found in members.items()
        if len({split for split, _ in found}) > 1
    ]


def _sides(splits: set[Split]) -> str:
    return " and ".join(sorted(splits))
