"""Rung 9: five steps of plain gradient descent from the same weights."""

from collections.abc import Callable

from parity.comparison import Comparison
from parity.distance import compare_after_steps, norm
from parity.port.case import Case
from parity.port.layer import Arrays
from parity.value_and_grad import ValueAndGrad

STEPS = 5
#: Length of the first step, relative to the norm of the weights.
_FIRST_STEP = 1e-2
#: Smallest scale of a weight's movement, as a share of the movement of all weights, so that the
#: rounding of a weight that does not move is not compared with itself.
_FLOOR = {"float64": 1e-3, "float32": 1e-2}


def compare_trajectory(case: Case) -> Comparison:
    """Compare weights and statistics after each step, each relative to how far it moved.

    Both sides subtract the learning rate times their own gradient, so that the result depends only
    on gradients and statistics, and on no optimiser.
    """
    pair, dtype = case.pair, case.pair.dtype
    _, theirs_of = case.objectives

    def reference(weights: Arrays) -> ValueAndGrad:
        return pair.reference.value_and_grad(weights, pair.batch, dtype, case.trains, theirs_of)

    start = {name: array.astype(dtype) for name, array in case.weights.items()}
    mapped = {path: array.astype(dtype) for path, array in case.mapped(start).items()}
    case.require_objective()
    first = reference(start)
    if not norm(first.gradients):
        raise ValueError("no parameter of the reference moves: there is nothing to compare")
    rate = _learning_rate(start, first)
    theirs = _descend(reference, start, rate)
    ours = _descend(case.candidate_value_and_grad, mapped, rate)
    found = Comparison((), f"learning rate {rate:.3g}")
    for step in range(STEPS):
        mine = case.mapping.invert(ours[step])
        mapped_names = {name: end for name, end in theirs[step].items() if name in mine}
        found += compare_after_steps(
            mine, mapped_names, start, _FLOOR[dtype], suffix=f" after step {step + 1}"
        )
    return found


def _learning_rate(weights: Arrays, first: ValueAndGrad) -> float:
    own = {name: weights[name] for name in first.gradients}
    length = norm(first.gradients)
    return _FIRST_STEP * norm(own) / length if length else 1.0


def _descend(
    value_and_grad: Callable[[Arrays], ValueAndGrad], weights: Arrays, rate: float
) -> list[Arrays]:
    found: list[Arrays] = []
    for _ in range(STEPS):
        computed = value_and_grad(weights)
        moved = {name: weights[name] - rate * g for name, g in computed.gradients.items()}
        weights = {**weights, **moved, **computed.statistics}
        found.append(weights)
    return found
