"""Distances between sets of arrays, absolute and relative to how far training moved the weights."""

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
    """Euclidean norm of all entries of all arrays (or samples of arrays) together."""
    return math.sqrt(sum(float(np.sum(np.square(_in_float64(array)))) for array in arrays.values()))


def distance(ours: Arrays, theirs: Arrays, like: Arrays | None = None) -> float:
    """Euclidean distance between two sets of arrays.

    Args:
        ours: Arrays by name.
        theirs: Arrays by the same names.
        like: Its names are compared; where it holds a sample, only the sample's places. `theirs` if
            None.
    """
    like = theirs if like is None else like
    return norm(
        {
            name: _entries_like(ours[name], kept) - _entries_like(theirs[name], kept)
            for name, kept in like.items()
        }
    )


def relative_to_movement(ours: Arrays, theirs: Arrays, start: Arrays) -> float:
    """Distance between two sets of trained weights, relative to how far `theirs` moved."""
    movement = distance(start, theirs)
    return distance(ours, theirs) / movement if movement else math.inf


def compare_after_steps(
    ours: Arrays, theirs: Arrays, start: Arrays, floor: float, *, suffix: str = ""
) -> Comparison:
    """Compare weights after training, each relative to how far it moved.

    The error of a weight is its largest absolute difference over the root mean square of its
    movement. For a weight that hardly moves, the divisor is a share of the movement of all weights,
    because its own movement is rounding.

    Args:
        ours: The candidate's weights, by name.
        theirs: The reference's weights, or samples of them.
        start: The initial weights of both.
        floor: The share of the movement of all weights.
        suffix: Text that follows a weight's name in the report.
    """
    total = distance(start, theirs)
    found: list[Difference] = []
    for name, end in theirs.items():
        movement = distance({name: start[name]}, {name: end})
        size = max(values_of(end).size, 1)
        scale = max(movement, floor * total) / math.sqrt(size)
        found.append(difference_of(f"{name}{suffix}", ours.get(name), end, scale))
    return Comparison(tuple(found))


def _entries_like(array: Any, like: Any) -> np.ndarray:
    """An array's flat entries in float64; if `like` is a sample, only those at its places."""
    return (
        _in_float64(array)
        if isinstance(array, Sampled)
        else entries(array, like).astype(np.float64)
    )


def _in_float64(array: Any) -> np.ndarray:
    return values_of(array).astype(np.float64)
