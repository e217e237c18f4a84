"""Rung 7: the gradient of every parameter and of the input."""

import numpy as np

from parity.comparison import Comparison
from parity.port.case import Case
from parity.port.layer import Arrays
from parity.slope import Slope, compare_slopes

#: Of the largest gradient of all: a gradient below it is compared with it, so that a zero's
#: rounding is not. Rounding is this much below the bounds.
FLOOR = {"float64": 1e-3, "float32": 1e-2}


def compare_gradients(case: Case) -> Comparison:
    """The objective, its gradient for each parameter by the reference's names, and for inputs."""
    pair, dtype = case.pair, case.pair.dtype
    _, theirs_of = case.objectives
    case.require_slope()
    theirs = pair.reference.slope(case.weights, pair.batch, dtype, case.trains, theirs_of)
    weights = case.mapped(case.weights)
    ours = case.candidate_slope(weights)
    by_name = _by_name(case, weights, ours.gradients)
    gradients = {name: a for name, a in theirs.gradients.items() if name in by_name}
    if not any(np.any(a) for a in (*gradients.values(), *theirs.inputs.values())):
        raise ValueError("every gradient of the reference is zero: there is nothing to compare")
    mine = {name: by_name[name] for name in gradients}
    found = compare_slopes(
        Slope(ours.value, mine, ours.inputs),
        Slope(theirs.value, gradients, theirs.inputs),
        floor=FLOOR[dtype],
        size=theirs_of.size,
    )
    note = "" if theirs.inputs else "the input is not of floating point and has no gradient"
    return Comparison(found.differences, note)


def _by_name(case: Case, weights: Arrays, gradients: Arrays) -> dict[str, np.ndarray]:
    # Statistics have no gradient; what is read back for them is not looked at.
    zeros = {path: np.zeros_like(array) for path, array in weights.items()}
    return case.mapping.invert({**zeros, **gradients})
