"""Whether two runs differ by more than chance, on the same photos."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class Pair(NamedTuple):
    """Two runs' answers side by side.

    Attributes:
        both: Photos that both got right.
        only_first: Photos that only the first got right.
        only_second: Photos that only the second got right.
        neither: Photos that both got wrong.
        p: Of McNemar's exact test.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def mcnemar(first: Bool[np.ndarray, " photos"], second: Bool[np.ndarray, " photos"]) -> Pair:
    """McNemar's exact test, two-sided, of which answers of two models are right.

    Were the models alike, either would be the right one of a photo that they differ on with
    probability 1/2; `p` is the probability of a division as uneven as this, or more so.

    Source: McNemar 1947.
    """
    from scipy.stats import binomtest

    both, only_first, only_second, neither = (
        int(np.sum(these))
        for these in (first & second, first & ~second, ~first & second, ~first & ~second)
    )
    differ = only_first + only_second
    p = float(binomtest(only_first, differ, 0.5).pvalue) if differ else 1.0
    return Pair(both, only_first, only_second, neither, p)


def adjusted(values: Sequence[float]) -> list[float]:
    """Of several tests the p that holds for all of them together.

    Source: Holm 1979.
    """
    found = [0.0] * len(values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        found[place] = least
    return found


def compare(
    names: Sequence[str], right: Sequence[Bool[np.ndarray, " photos"]]
) -> list[dict[str, object]]:
    """Each pair of runs, ready for JSON, from which of their answers are right."""
    places = list(itertools.combinations(range(len(names)), 2))
    pairs = [mcnemar(right[first], right[second]) for first, second in places]
    return [
        {"first": names[first], "second": names[second]} | pair._asdict() | {"p_adjusted": p}
        for (first, second), pair, p in zip(
            places, pairs, adjusted([pair.p for pair in pairs]), strict=True
        )
    ]
