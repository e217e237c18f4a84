"""Rung 7: the gradient of every parameter and of the input."""

import numpy as np

from parity.comparison import Comparison
from parity.port.case import Case
from parity.port.layer import Arrays
from parity.value_and_grad import ValueAndGrad, compare_values_and_grads

#: Smallest scale of a gradient, as a share of the largest gradient of all, so that the rounding of
#: a zero gradient is not compared with itself. Rounding is this much below the bounds.
FLOOR = {"float64": 1e-3, "float32": 1e-2}


def compare_gradients(case: Case) -> Comparison:
    """Compare the objective, and its gradients with respect to parameters and inputs."""
    pair, dtype = case.pair, case.pair.dtype
    _, theirs_of = case.objectives
    case.require_objective()
    theirs = pair.reference.value_and_grad(case.weights, pair.batch, dtype, case.trains, theirs_of)
    weights = case.mapped(case.weights)
    ours = case.candidate_value_and_grad(weights)
    by_name = _by_name(case, weights, ours.gradients)
    gradients = {name: a for name, a in theirs.gradients.items() if name in by_name}
    if not any(np.any(a) for a in (*gradients.values(), *theirs.inputs.values())):
        raise ValueError("every gradient of the reference is zero: there is nothing to compare")
    mine = {name: by_name[name] for name in gradients}
    found = compare_values_and_grads(
        ValueAndGrad(ours.value, mine, ours.inputs),
        ValueAndGrad(theirs.value, gradients, theirs.inputs),
        floor=FLOOR[dtype],
        value_scale=theirs_of.scale,
    )
    note = "" if theirs.inputs else "the input is not floating-point and has no gradient"
    return Comparison(found.differences, note)


def _by_name(case: Case, weights: Arrays, gradients: Arrays) -> dict[str, np.ndarray]:
    # Statistics have no gradient; their zeros are not compared.
    zeros = {path: np.zeros_like(array) for path, array in weights.items()}
    return case.mapping.invert({**zeros, **gradients})
