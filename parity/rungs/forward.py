"""Rung 5: every layer's output."""

import functools
from collections.abc import Iterator

from parity import candidate as port
from parity.candidate import Candidate, against
from parity.cases import first_batch, weights_of
from parity.check import Check
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from parity.precision import pinned

_BOUNDS = {"float32": 5e-6, "float64": 1e-14}
_BECAUSE = {
    "float32": "rounding of sums of up to 341,056 products; measured 8e-7",
    "float64": "rounding of sums of up to 341,056 products; measured 2e-15",
}


def sizes(original: Original) -> tuple[int, ...]:
    """Sides of the images that are compared; the study's own size on what was recorded."""
    if original.candidate != "study-cnn":
        return (32,)
    return (64, 600) if isinstance(original, GoldenOriginal) else (64,)


def checks(original: Original) -> Iterator[Check]:
    """Each size and precision."""
    for size in sizes(original):
        for dtype in ("float32", "float64"):
            yield original.check(
                5,
                case=f"{dtype}, {size} px",
                bound=_BOUNDS[dtype],
                because=_BECAUSE[dtype],
                run=against(
                    functools.partial(original.forward, size, dtype),
                    functools.partial(_outputs, size, dtype),
                    *("from_arrays", "scale", "outputs", "logits"),
                ),
                quick=dtype == "float64" and isinstance(original, LiveOriginal),
            )


def _outputs(size: int, dtype: str, candidate: Candidate) -> port.Weights:
    with pinned(dtype):
        weights = weights_of(candidate.name, size, dtype)
        return port.forward(candidate, weights, first_batch(candidate.name, size), size, dtype)
