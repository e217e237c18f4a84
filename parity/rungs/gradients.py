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

from parity import candidate as port
from parity.candidate import Candidate, against
from parity.cases import Masks, first_batch, masks_of, weights_of
from parity.check import Check
from parity.comparison import Comparison, Difference, Sampled, entries, values_of
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from parity.precision import pinned
from parity.rungs.forward import sizes
from reference.legacy import seeded

_BOUNDS = {"float32": 2e-5, "float64": 5e-14}
_BECAUSE = {
    "float32": "rounding of sums over all pixels and images; measured 3e-6",
    "float64": "rounding of sums over pixels and images; measured 6e-15, 600 px 2e-14",
}


def checks(original: Original) -> Iterator[Check]:
    """Each size and precision, without dropout and, where there is any, with it."""
    for size in sizes(original):
        for dtype in ("float32", "float64"):
            if isinstance(original, GoldenOriginal) and size == 600 and dtype == "float32":
                yield original.check(
                    7,
                    case=f"float32, 600 px, no dropout, {seeded.DRAWS} draws",
                    bound=2.0,
                    because="how far from float64, relative to how far the original's float32 is",
                    run=functools.partial(_no_farther, original, size),
                )
                continue
            for masks in _masks(original, size, dtype):
                yield original.check(
                    7,
                    case=f"{dtype}, {size} px, {'no ' if masks is None else ''}dropout",
                    bound=_BOUNDS[dtype],
                    because=_BECAUSE[dtype],
                    run=_run(original, size, dtype, masks),
                    quick=dtype == "float64" and isinstance(original, LiveOriginal),
                )


def _no_farther(original: GoldenOriginal, size: int, candidate: Candidate) -> Comparison:
    # Means over draws and quantities of the squared relative distances, so that each counts alike.
    ours, theirs = [], []
    weights = weights_of(candidate.name, size, "float32")
    for draw in range(seeded.DRAWS):
        exact = original.gradients_of_draw(size, "float64", draw)
        recorded = original.gradients_of_draw(size, "float32", draw)
        with pinned("float32"):
            batch = first_batch(original.candidate, size, draw=draw)
            _, found = port.gradients(candidate, weights, batch, size, "float32")
        ours += [_relative_distance(found[name], exact[name]) for name in exact]
        theirs += [_relative_distance(recorded[name], exact[name]) for name in exact]
    mine, yours = (float(np.sqrt(np.mean(np.square(side)))) for side in (ours, theirs))
    name = "relative distance from the float64 gradients"
    ratio = mine / yours if yours else math.inf
    return Comparison((Difference(name, ratio, candidate=mine, reference=yours),))


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

    def ours(candidate: Candidate) -> dict[str, np.ndarray]:
        with pinned(dtype):
            weights = weights_of(candidate.name, size, dtype)
            loss, arrays = port.gradients(candidate, weights, batch, size, dtype)
            return {"loss": np.asarray(loss), **arrays}

    return against(
        functools.partial(original.gradients, size, dtype, batch),
        ours,
        *("from_arrays", "to_arrays", "scale", "logits", "loss", "reduce"),
    )
