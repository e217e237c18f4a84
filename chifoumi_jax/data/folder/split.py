"""Choosing the photos to test on: by class, by capture session, and the same on every machine.

scikit-learn's `StratifiedGroupKFold` was considered. It makes folds, so that only shares of 1/k
are to be had, and promises no class a place on both sides. Measured on 100 random tables of 8 to
40 sessions, for a share of 1/7: a class's share was off by 0.039 on average (here 0.015), and 12
classes had nothing to test on (here none). Version 1.9.1.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

# Whole sessions seldom add up to what is wanted; of that many random orders the best is taken.
_ATTEMPTS = 16

Unit = tuple[str, ...]


def bind(bonds: Mapping[str, Iterable[Hashable]]) -> list[Unit]:
    """Gather paths that share a bond, directly or through others, into units.

    Args:
        bonds: For each path what ties it to others: its content's hash, its session.

    Returns:
        Units of sorted paths, in the order of their first paths.
    """
    parent = {path: path for path in bonds}

    def root(path: str) -> str:
        while parent[path] != path:
            parent[path] = path = parent[parent[path]]
        return path

    first: dict[Hashable, str] = {}
    for path, ties in bonds.items():
        for tie in ties:
            parent[root(path)] = root(first.setdefault(tie, path))
    units: dict[str, list[str]] = {}
    for path in sorted(bonds):
        units.setdefault(root(path), []).append(path)
    return [tuple(unit) for unit in units.values()]


def choose(
    units: Sequence[Unit], class_of: Mapping[str, str], wanted: Mapping[str, int], seed: int
) -> frozenset[str]:
    """Choose whole units so that each class gives about the number of photos that is wanted.

    First of all no class may lose all its photos; then each class of which photos are wanted
    should give one; then the numbers should be right, in shares of the class. Where each unit is
    one photo the numbers are right exactly.

    Args:
        units: Paths that must stay together.
        class_of: Each path's class.
        wanted: How many photos of each class, less than there are.
        seed: Decides among equals, with the paths; nothing else does.

    Returns:
        The chosen paths.
    """
    contents = [Counter(class_of[path] for path in unit) for unit in units]
    best: tuple[tuple[int, int, float], list[int]] | None = None
    for attempt in range(_ATTEMPTS):
        order = sorted(range(len(units)), key=lambda i: _rank(units[i][0], seed, attempt))
        chosen, score = _fill(order, contents, wanted)
        if best is None or score < best[0]:
            best = score, chosen
        if score == (0, 0, 0.0):
            break
    assert best is not None
    return frozenset(path for i in best[1] for path in units[i])


def wanted_counts(
    share: float, totals: Mapping[str, int], left: Mapping[str, int]
) -> dict[str, int]:
    """How many photos of each class to choose: `share` of `totals`, at least 1, never all `left`.

    Classes with fewer than two photos left give none, nor does any if `share` is 0.
    """
    if share == 0:
        return dict.fromkeys(left, 0)
    return {
        name: max(0, min(max(1, round(share * totals[name])), count - 1))
        for name, count in left.items()
    }


def _rank(path: str, seed: int, attempt: int) -> bytes:
    # A hash and no generator: the order does not depend on what other photos there are.
    text = f"{seed}/{attempt}/{path}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _fill(
    order: Sequence[int], contents: Sequence[Counter[str]], wanted: Mapping[str, int]
) -> tuple[list[int], tuple[int, int, float]]:
    """Take unit after unit wherever that makes the score smaller."""
    totals, taken = Counter[str](), Counter[str]()
    for content in contents:
        totals.update(content)
    chosen = []

    def score(names: Iterable[str], extra: Mapping[str, int]) -> tuple[int, int, float]:
        counts = {name: taken[name] + extra.get(name, 0) for name in names}
        return (
            sum(counts[name] == totals[name] for name in counts),
            sum(counts[name] == 0 < wanted[name] for name in counts),
            sum(((counts[name] - wanted[name]) / totals[name]) ** 2 for name in counts),
        )

    for i in order:
        if score(contents[i], contents[i]) < score(contents[i], {}):
            taken.update(contents[i])
            chosen.append(i)
    return chosen, score(totals, {})
