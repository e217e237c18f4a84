"""Rung 2: initial weights follow the same distribution, tested statistically on seeded draws."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, Difference
from parity.original import Original, summary_statistics
from parity.systems.registry import cached_by_parts

DRAWS = 40
_MOMENTS = ("mean", "mean square", "mean fourth power")
MAX_Z = 5.0
MAX_EXTREME = 25.0


def checks(original: Original) -> Iterator[Check]:
    """Moments, then minima and maxima."""
    theirs = functools.cache(lambda: original.initial(DRAWS))
    shapes = original.case.shapes()
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    yield original.check(
        2,
        quick=True,
        case="moments",
        bound=MAX_Z,
        because="z score; by chance, one of 30 such scores exceeds 5 in 1 of 50,000 ladders",
        run=lambda candidate: compare_moments(_draw(candidate), theirs(), sizes),
    )
    yield original.check(
        2,
        quick=True,
        case="extremes",
        bound=MAX_EXTREME,
        because="N (1 - max/limit) of N uniform draws is exponential: above 25 once in 7e10",
        run=lambda candidate: compare_extremes(_draw(candidate), theirs(), sizes),
    )


@cached_by_parts("initial")
def _draw(candidate: Candidate) -> dict[str, np.ndarray]:
    return summaries(candidate.initial)


def summaries(initial: Callable[[int], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The `summary_statistics` of each weight in each draw, `[draws, 5]`.

    Args:
        initial: Draws weights from a seed.
    """
    draws = [initial(seed) for seed in range(DRAWS)]
    return {name: np.array([summary_statistics(draw[name]) for draw in draws]) for name in draws[0]}


def compare_moments(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], sizes: Mapping[str, int]
) -> Comparison:
    """Z scores of the mean, mean square and mean fourth power of each weight's draws.

    Args:
        ours: The `summary_statistics` of each draw of each weight, `[draws, 5]`.
        theirs: Those of the original.
        sizes: Number of entries of each weight.
    """
    found = []
    for name in theirs:
        for place, moment in enumerate(_MOMENTS, start=2):
            mine, yours = ours[name][:, place], theirs[name][:, place]
            spread = math.hypot(_standard_error(mine), _standard_error(yours))
            difference = abs(float(mine.mean() - yours.mean()))
            # Biases that are all zero have no spread; they must be equal.
            error = difference / spread if spread else (0.0 if difference == 0 else math.inf)
            found.append(
                Difference(
                    f"{name} ({moment})",
                    error,
                    max_abs=difference,
                    candidate=float(mine.mean()),
                    reference=float(yours.mean()),
                )
            )
    return Comparison(tuple(found), _power(theirs, sizes))


def compare_extremes(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], sizes: Mapping[str, int]
) -> Comparison:
    """Differences of the minima and maxima, times the number of draws; see `compare_moments`."""
    found = []
    for name in theirs:
        count = sizes[name] * min(len(ours[name]), len(theirs[name]))
        for extreme, pick in (("minimum", np.min), ("maximum", np.max)):
            column = 0 if extreme == "minimum" else 1
            mine, yours = float(pick(ours[name][:, column])), float(pick(theirs[name][:, column]))
            scale = max(abs(mine), abs(yours))
            difference = abs(mine - yours)
            error = count * difference / scale if scale else 0.0
            found.append(
                Difference(
                    f"{name} ({extreme})",
                    error,
                    max_abs=difference,
                    candidate=mine,
                    reference=yours,
                )
            )
    return Comparison(tuple(found))


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _power(theirs: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> str:
    # The mean square of N uniform draws has the relative standard error sqrt(0.8 / N). The test
    # finds a difference of (5 + 2.33) standard errors of two such means in 99 of 100 cases.
    smallest = min(sizes[name] for name in theirs if np.any(theirs[name]))
    share = (MAX_Z + 2.33) * math.sqrt(2 * 0.8 / (smallest * DRAWS))
    return f"finds a spread {share / 2:.1%} too large in the smallest weight in 99 of 100 cases"
