"""An objective and its gradients, and the comparison of two of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.comparison import Comparison, compare, values_of

Arrays = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Slope:
    """An objective, and its gradients.

    Attributes:
        value: The objective.
        gradients: For each trained parameter.
        inputs: For each input of floating point.
        statistics: What is not trained, after the pass.
    """

    value: float
    gradients: Arrays
    inputs: Arrays
    statistics: Arrays = dataclasses.field(default_factory=dict)


def compare_slopes(
    ours: Slope, theirs: Slope, *, floor: float = 0.0, size: float | None = None
) -> Comparison:
    """Compare the objective, then the gradients of parameters, then those of inputs.

    Args:
        ours: The candidate's, by the reference's names.
        theirs: The reference's.
        floor: A gradient whose largest entry is below this share of the largest of all is
            compared with that share instead, because its own entries are rounding.
        size: What the objective's difference is relative to; its own size if None.
    """
    value = {"objective": np.asarray(theirs.value)}
    found = compare({"objective": np.asarray(ours.value)}, value, scale=size)
    found += compare(ours.gradients, theirs.gradients, scale=scales(theirs.gradients, floor))
    return found + compare(ours.inputs, theirs.inputs, scale=scales(theirs.inputs, floor))


def scales(arrays: Arrays, floor: float) -> dict[str, float]:
    """Each array's largest entry, or a share of the largest of all if that is more.

    A gradient that is zero but for rounding, such as a bias's before a batch normalization, would
    otherwise be compared with its own rounding.
    """
    sizes = {name: _largest(values_of(array)) for name, array in arrays.items()}
    largest = max(sizes.values(), default=0.0)
    return {name: max(size, floor * largest) for name, size in sizes.items()}


def _largest(values: np.ndarray) -> float:
    return float(np.max(np.abs(values))) if values.size and np.all(np.isfinite(values)) else 0.0
