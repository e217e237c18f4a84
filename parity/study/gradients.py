"""Rung 7: the gradient of every weight and of the input, without dropout and with a given mask."""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from parity.check import Check
from parity.comparison import Comparison, compare
from parity.precision import pinned
from parity.study import candidate as port
from parity.study.candidate import Candidate
from parity.study.cases import Masks, first_batch, masks_of, weights_of
from parity.study.forward import sizes
from parity.study.golden_original import GoldenOriginal
from parity.study.original import Original

_BOUNDS = {"float32": 2e-5, "float64": 5e-14}
_BECAUSE = {
    "float32": "rounding of sums over all pixels and images; measured 3e-6",
    "float64": "rounding of sums over all pixels and images; measured 6e-15",
}


def checks(original: Original) -> Iterator[Check]:
    """Each size and precision, without dropout and, where there is any, with it."""
    for size in sizes(original):
        for dtype in ("float32", "float64"):
            for masks in _masks(original, size, dtype):
                yield Check(
                    rung=7,
                    candidate=original.candidate,
                    original=original.name,
                    case=f"{dtype}, {size} px, {'no ' if masks is None else ''}dropout",
                    bound=_BOUNDS[dtype],
                    because=_BECAUSE[dtype],
                    run=_run(original, size, dtype, masks),
                    quick=dtype == "float64" and size < 600,
                )


def _masks(original: Original, size: int, dtype: str) -> list[Masks | None]:
    if isinstance(original, GoldenOriginal):
        captured = original.masks(size, dtype)
        return [None] if captured is None else [None, captured]
    return [None] if original.candidate == "study-mlp-v21" else [None, masks_of(original.candidate)]


def _run(
    original: Original, size: int, dtype: str, masks: Masks | None
) -> Callable[[Candidate], Comparison]:
    batch = first_batch(original.candidate, size, masks)
    theirs = functools.cache(lambda: original.gradients(size, dtype, batch))

    def run(candidate: Candidate) -> Comparison:
        with pinned(dtype):
            weights = weights_of(candidate.name, size, dtype)
            loss, arrays = port.gradients(candidate, weights, batch, size, dtype)
            return compare({"loss": np.asarray(loss), **arrays}, theirs())

    return run
