"""Rung 9: some steps of plain gradient descent from the same weights."""

from collections.abc import Callable

from parity.comparison import Comparison
from parity.distance import compare_after_steps, norm
from parity.port.case import Case
from parity.port.layer import Arrays
from parity.slope import Slope

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
    if not norm(first.gradients):
        raise ValueError("no parameter of the reference moves: there is nothing to compare")
    rate = _rate(start, first)
    theirs = _descend(reference, start, rate)
    ours = _descend(case.candidate_slope, mapped, rate)
    found = Comparison((), f"learning rate {rate:.3g}")
    for step in range(STEPS):
        mine = case.mapping.invert(ours[step])
        mapped_names = {name: end for name, end in theirs[step].items() if name in mine}
        found += compare_after_steps(
            mine, mapped_names, start, _FLOOR[dtype], suffix=f" after step {step + 1}"
        )
    return found


def _rate(weights: Arrays, slope: Slope) -> float:
    own = {name: weights[name] for name in slope.gradients}
    length = norm(slope.gradients)
    return _FIRST * norm(own) / length if length else 1.0


def _descend(slope: Callable[[Arrays], Slope], weights: Arrays, rate: float) -> list[Arrays]:
    found: list[Arrays] = []
    for _ in range(STEPS):
        here = slope(weights)
        moved = {name: weights[name] - rate * g for name, g in here.gradients.items()}
        weights = {**weights, **moved, **here.statistics}
        found.append(weights)
    return found
