"""Rung 8: the optimiser alone, on prescribed gradients from 1e-10 to 10."""

import functools
from collections.abc import Iterator

import numpy as np

from parity import candidate as port
from parity.candidate import Candidate
from parity.case import Case
from parity.check import Check
from parity.original import LiveOriginal, Original
from parity.precision import pinned
from parity.systems.registry import cached_comparison
from reference.legacy import seeded

KEPT_STEPS = (1, 5, 100)
_BOUNDS = {"float32": 1e-5, "float64": 5e-14}
_BECAUSE = {
    "float32": "100 steps of a few roundings each, and powers of beta; measured 2e-6",
    "float64": "100 steps of a few roundings each; measured 2e-15",
}


def checks(original: Original) -> Iterator[Check]:
    """One check for each precision."""
    for dtype in ("float32", "float64"):
        yield original.check(
            8,
            case=f"{dtype}, 1, 5 and 100 steps",
            bound=_BOUNDS[dtype],
            because=_BECAUSE[dtype],
            run=cached_comparison(
                functools.partial(original.optimise, dtype, KEPT_STEPS),
                functools.partial(_optimised, original.case, dtype),
                *("from_arrays", "to_arrays", "optimizer"),
            ),
            quick=dtype == "float64" and isinstance(original, LiveOriginal),
        )


def _optimised(case: Case, dtype: str, candidate: Candidate) -> dict[str, np.ndarray]:
    with pinned(dtype):
        weights = case.weights(case.size, dtype)

        def prescribed(step: int) -> dict[str, np.ndarray]:
            return {
                name: seeded.gradients(name, value.shape, step, dtype)
                for name, value in weights.items()
            }

        return port.optimise(candidate, weights, prescribed, KEPT_STEPS, case.size, dtype)
