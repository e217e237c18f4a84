"""Rung 9: some steps of plain gradient descent from the same weights."""

from collections.abc import Callable

import numpy as np

from parity.comparison import Comparison, Difference, difference_of
from parity.port.case import Case
from parity.port.layer import Arrays, Slope

STEPS = 5
#: How far the first step goes, of the weights' own size.
_FIRST = 1e-2
#: Of the way that all weights together went: a shorter way is compared with it, so that the
#: rounding of one that stays where it is, is not.
_FLOOR = {"float64": 1e-3, "float32": 1e-2}


def compare_trajectory(case: Case) -> Comparison:
    """Weights and statistics after each step, each relative to the way that it has gone.

    Both sides subtract the learning rate times their own gradient, so that only gradients and
    statistics matter, and no optimiser.
    """
    pair, dtype = case.pair, case.pair.dtype
    _, theirs_of = case.objectives

    def reference(weights: Arrays) -> Slope:
        return pair.reference.slope(weights, pair.batch, dtype, case.trains, theirs_of)

    start = {name: array.astype(dtype) for name, array in case.weights.items()}
    mapped = {path: array.astype(dtype) for path, array in case.mapped(start).items()}
    case.require_slope()
    first = reference(start)
    if not _length(first.gradients):
        raise ValueError("no parameter of the reference moves: there is nothing to compare")
    rate = _rate(start, first)
    theirs = _descend(reference, start, rate)
    ours = _descend(case.candidate_slope, mapped, rate)
    found: list[Difference] = []
    for step in range(STEPS):
        mine = case.mapping.invert(ours[step])
        found += _of_step(step + 1, mine, theirs[step], start, _FLOOR[dtype])
    return Comparison(tuple(found), f"learning rate {rate:.3g}")


def _rate(weights: Arrays, slope: Slope) -> float:
    own = {name: weights[name] for name in slope.gradients}
    length = _length(slope.gradients)
    return _FIRST * _length(own) / length if length else 1.0


def _descend(slope: Callable[[Arrays], Slope], weights: Arrays, rate: float) -> list[Arrays]:
    found: list[Arrays] = []
    for _ in range(STEPS):
        here = slope(weights)
        moved = {name: weights[name] - rate * g for name, g in here.gradients.items()}
        weights = {**weights, **moved, **here.statistics}
        found.append(weights)
    return found


def _of_step(
    step: int, ours: Arrays, theirs: Arrays, start: Arrays, floor: float
) -> list[Difference]:
    names = [name for name in theirs if name in ours]
    whole = _length({name: theirs[name] - start[name] for name in names})
    found = []
    for name in names:
        way = _length({name: theirs[name] - start[name]})
        scale = max(way, floor * whole) / np.sqrt(max(theirs[name].size, 1))
        found.append(
            difference_of(f"{name} after step {step}", ours[name], theirs[name], float(scale))
        )
    return found


def _length(arrays: Arrays) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(array))) for array in arrays.values())))
