"""An objective with its gradients, and the comparison of two of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.comparison import Comparison, compare, values_of

Arrays = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ValueAndGrad:
    """The value of an objective, and its gradients.

    Attributes:
        value: The objective.
        gradients: Its gradients with respect to the trained parameters, by name.
        inputs: Its gradients with respect to the floating-point inputs, by name.
        statistics: The running statistics and other untrained arrays, after the forward pass.
    """

    value: float
    gradients: Arrays
    inputs: Arrays
    statistics: Arrays = dataclasses.field(default_factory=dict)


def compare_values_and_grads(
    ours: ValueAndGrad,
    theirs: ValueAndGrad,
    *,
    floor: float = 0.0,
    value_scale: float | None = None,
) -> Comparison:
    """Compare the objective, then the gradients of parameters, then those of inputs.

    Args:
        ours: The candidate's, by the reference's names.
        theirs: The reference's.
        floor: Smallest scale of a gradient, as a share of the largest entry of all gradients. A
            gradient with smaller entries is compared on that scale, because its own entries are
            rounding.
        value_scale: Scale of the objective's difference; the objective's absolute value if None.
    """
    value = {"objective": np.asarray(theirs.value)}
    found = compare({"objective": np.asarray(ours.value)}, value, scale=value_scale)
    found += compare(ours.gradients, theirs.gradients, scale=scales(theirs.gradients, floor))
    return found + compare(ours.inputs, theirs.inputs, scale=scales(theirs.inputs, floor))


def scales(arrays: Arrays, floor: float) -> dict[str, float]:
    """Each array's largest entry, or `floor` times the largest entry of all if that is larger.

    Without the floor, a gradient that is zero up to rounding, such as that of a bias before a batch
    normalization, would be compared with its own rounding.
    """
    sizes = {name: _largest(values_of(array)) for name, array in arrays.items()}
    largest = max(sizes.values(), default=0.0)
    return {name: max(size, floor * largest) for name, size in sizes.items()}


def _largest(values: np.ndarray) -> float:
    return float(np.max(np.abs(values))) if values.size and np.all(np.isfinite(values)) else 0.0
