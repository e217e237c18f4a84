"""Rung 5: every layer's output."""

import functools
from collections.abc import Iterator

from parity import candidate as port
from parity.candidate import Candidate
from parity.case import Case
from parity.check import Check
from parity.original import LiveOriginal, Original
from parity.precision import pinned
from parity.systems.registry import cached_comparison

_BOUNDS = {"float32": 5e-6, "float64": 1e-14}
_BECAUSE = {
    "float32": "rounding of sums of up to 341,056 products; measured 8e-7",
    "float64": "rounding of sums of up to 341,056 products; measured 2e-15",
}


def checks(original: Original) -> Iterator[Check]:
    """One check for each image size and precision."""
    for size in original.sizes:
        for dtype in ("float32", "float64"):
            yield original.check(
                5,
                case=f"{dtype}, {size} px",
                bound=_BOUNDS[dtype],
                because=_BECAUSE[dtype],
                run=cached_comparison(
                    functools.partial(original.forward, size, dtype),
                    functools.partial(_outputs, original.case, size, dtype),
                    *("from_arrays", "scale", "outputs", "logits"),
                ),
                quick=dtype == "float64" and isinstance(original, LiveOriginal),
            )


def _outputs(case: Case, size: int, dtype: str, candidate: Candidate) -> port.Weights:
    with pinned(dtype):
        weights = case.weights(size, dtype)
        return port.forward(candidate, weights, case.first_batch(size), size, dtype)
