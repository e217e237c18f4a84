"""How far apart sets of arrays are, and how far a training has moved its weights."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.comparison import (
    Comparison,
    Difference,
    Sampled,
    difference_of,
    entries,
    values_of,
)

Arrays = Mapping[str, Any]


def norm(arrays: Arrays) -> float:
    """Euclidean norm of all entries together, of arrays or samples of arrays."""
    return math.sqrt(sum(float(np.sum(np.square(_exact(array)))) for array in arrays.values()))


def distance(ours: Arrays, theirs: Arrays, like: Arrays | None = None) -> float:
    """Euclidean distance of two sets of arrays.

    Args:
        ours: By name.
        theirs: By the same names.
        like: Which names are compared, and at which places if it holds samples; `theirs` if None.
    """
    like = theirs if like is None else like
    return norm(
        {name: _at(ours[name], kept) - _at(theirs[name], kept) for name, kept in like.items()}
    )


def share_of_way(ours: Arrays, theirs: Arrays, start: Arrays) -> float:
    """Distance of two trainings' ends, relative to the way that the second one has gone."""
    way = distance(start, theirs)
    return distance(ours, theirs) / way if way else math.inf


def compare_after_steps(
    ours: Arrays, theirs: Arrays, start: Arrays, floor: float, *, suffix: str = ""
) -> Comparison:
    """Compare weights after training, each relative to the way that it has gone.

    The error of a weight is its largest absolute difference over the root mean square of its
    movement. A weight that hardly moves is compared with a share of the movement of all, because
    its own movement is rounding.

    Args:
        ours: The candidate's weights, by name.
        theirs: The reference's, or samples of them.
        start: The weights that both began with.
        floor: The share of the movement of all.
        suffix: What follows a weight's name in the report.
    """
    whole = distance(start, theirs)
    found: list[Difference] = []
    for name, end in theirs.items():
        way = distance({name: start[name]}, {name: end})
        size = max(values_of(end).size, 1)
        scale = max(way, floor * whole) / math.sqrt(size)
        found.append(difference_of(f"{name}{suffix}", ours.get(name), end, scale))
    return Comparison(tuple(found))


def _at(array: Any, like: Any) -> np.ndarray:
    """An array's entries in float64, at the places that `like` keeps if it is a sample."""
    return _exact(array) if isinstance(array, Sampled) else entries(array, like).astype(np.float64)


def _exact(array: Any) -> np.ndarray:
    return values_of(array).astype(np.float64)
