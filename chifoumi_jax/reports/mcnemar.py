"""McNemar's test: whether two runs differ by more than chance on the same photos."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class PairedResult(NamedTuple):
    """How often two runs are correct on the same photos.

    Attributes:
        both: Photos that both got right.
        only_first: Photos that only the first got right.
        only_second: Photos that only the second got right.
        neither: Photos that both got wrong.
        p: p-value of McNemar's exact test.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def mcnemar(
    first: Bool[np.ndarray, " photos"], second: Bool[np.ndarray, " photos"]
) -> PairedResult:
    """McNemar's exact test, two-sided.

    Only photos on which exactly one model is correct count. If both models were equally good, each
    would be the correct one with probability 1/2; `p` is the probability of a division at least as
    uneven as the observed one.

    Args:
        first: Whether each answer of the first model is correct.
        second: Whether each answer of the second model is correct.

    Source: McNemar 1947.
    """
    from scipy.stats import binomtest

    both, only_first, only_second, neither = (
        int(np.sum(selected))
        for selected in (first & second, first & ~second, ~first & second, ~first & ~second)
    )
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return PairedResult(both, only_first, only_second, neither, p)


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for multiple testing.

    Source: Holm 1979.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare(
    names: Sequence[str], correct: Sequence[Bool[np.ndarray, " photos"]]
) -> list[dict[str, object]]:
    """The test of each pair of runs, ready for JSON.

    Args:
        names: Names of the runs.
        correct: Whether each answer of each run is correct.
    """
    indices = list(itertools.combinations(range(len(names)), 2))
    pairs = [mcnemar(correct[first], correct[second]) for first, second in indices]
    return [
        {"first": names[first], "second": names[second]} | pair._asdict() | {"p_adjusted": p}
        for (first, second), pair, p in zip(
            indices, pairs, holm_adjusted([pair.p for pair in pairs]), strict=True
        )
    ]
