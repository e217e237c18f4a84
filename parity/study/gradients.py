"""Rung 7: the gradient of every weight and of the input, without dropout and with a given mask.

At 600 pixels a float32 rounding now and then lets another of two nearly equal values win a pooling
window, which moves a whole gradient to another place. There the question in float32 is the one of
the trajectory: is JAX's gradient no farther from the float64 one than twice the original's own is?
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from parity.check import Check
from parity.comparison import Comparison, Difference, Sampled, compare, entries, values_of
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
            if size == 600 and dtype == "float32":
                yield Check(
                    rung=7,
                    candidate=original.candidate,
                    original=original.name,
                    case="float32, 600 px, no dropout, distance from float64",
                    bound=2.0,
                    because="how far from float64, relative to how far the original's float32 is",
                    run=functools.partial(_no_farther, original, size),
                )
                continue
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


def _no_farther(original: Original, size: int, candidate: Candidate) -> Comparison:
    batch = first_batch(original.candidate, size)
    exact, theirs = (original.gradients(size, dtype, batch) for dtype in ("float64", "float32"))
    with pinned("float32"):
        weights = weights_of(candidate.name, size, "float32")
        loss, ours = port.gradients(candidate, weights, batch, size, "float32")
    agreed = compare({"loss": np.asarray(loss)}, {"loss": theirs["loss"]})
    # The mean over quantities of the squared relative distance, so that each counts alike.
    distances = []
    for side in (ours, theirs):
        shares = [_relative_distance(side[name], exact[name]) for name in exact if name != "loss"]
        distances.append(math.sqrt(sum(share**2 for share in shares) / len(shares)))
    mine, yours = distances
    ratio = mine / yours if yours else math.inf
    name = "relative distance from the float64 gradients"
    return agreed + Comparison((Difference(name, ratio, candidate=mine, reference=yours),))


def _relative_distance(array: Any, exact: Any) -> float:
    here = values_of(array) if isinstance(array, Sampled) else entries(array, exact)
    truth = values_of(exact)
    return float(np.linalg.norm(here - truth) / np.linalg.norm(truth))


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
