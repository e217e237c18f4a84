"""Rung 8: the optimiser alone, on prescribed gradients from 1e-10 to 10."""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from parity import candidate as port
from parity.candidate import Candidate
from parity.case import Case
from parity.check import Check
from parity.comparison import Comparison, compare
from parity.inputs import prescribed_gradient
from parity.original import LiveOriginal, Original
from parity.precision import pinned
from parity.systems.registry import cached_by_parts

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
            run=_run(original, dtype),
            quick=dtype == "float64" and isinstance(original, LiveOriginal),
        )


def _run(original: Original, dtype: str) -> Callable[[Candidate], Comparison]:
    ours = _optimised(original.case, dtype)
    theirs = functools.cache(functools.partial(original.optimise, dtype, KEPT_STEPS))
    return lambda candidate: compare(ours(candidate), theirs())


# Cached, so that the steps are taken once for all originals of a port.
@functools.cache
def _optimised(case: Case, dtype: str) -> Callable[[Candidate], dict[str, np.ndarray]]:
    @cached_by_parts("from_arrays", "to_arrays", "optimizer")
    def ours(candidate: Candidate) -> dict[str, np.ndarray]:
        with pinned(dtype):
            weights = case.weights(case.size, dtype)

            def prescribed(step: int) -> dict[str, np.ndarray]:
                return {
                    name: prescribed_gradient(name, value.shape, step, dtype)
                    for name, value in weights.items()
                }

            return port.optimise(candidate, weights, prescribed, KEPT_STEPS, case.size, dtype)

    return ours
