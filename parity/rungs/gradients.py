"""Rung 7: the gradient of every weight and of the input, without dropout and with a given mask.

At 600 pixels, float32 rounding sometimes changes which of two nearly equal values is the maximum of
a pooling window, which moves a complete gradient entry to another place. The float32 check at this
size is therefore that of the trajectory: the distance of JAX's gradients from the float64 gradients
may be at most twice that of the original's float32 gradients.
"""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

from parity import candidate as port
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, Difference
from parity.distance import distance, norm
from parity.inputs import Masks
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from parity.precision import pinned
from parity.systems.registry import cached_by_parts
from parity.value_and_grad import ValueAndGrad, compare_values_and_grads
from reference.legacy import seeded

_BOUNDS = {"float32": 2e-5, "float64": 5e-14}
_BECAUSE = {
    "float32": "rounding of sums over all pixels and images; measured 3e-6",
    "float64": "rounding of sums over pixels and images; measured 6e-15, 600 px 2e-14",
}


def checks(original: Original) -> Iterator[Check]:
    """Each image size and precision, without dropout and, if the model has dropout, with it."""
    small = original.case.size
    for size in original.sizes:
        for dtype in ("float32", "float64"):
            if isinstance(original, GoldenOriginal) and dtype == "float32" and size != small:
                yield original.check(
                    7,
                    case=f"float32, {size} px, no dropout, {seeded.DRAWS} draws",
                    bound=2.0,
                    because="distance from float64, relative to that of the original's float32",
                    run=functools.partial(_compare_distances, original, size),
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


def _compare_distances(original: GoldenOriginal, size: int, candidate: Candidate) -> Comparison:
    # Root mean square of relative distances, so that all draws and quantities have equal weight.
    ours: list[float] = []
    theirs: list[float] = []
    case = original.case
    weights = case.weights(size, "float32")
    for draw in range(seeded.DRAWS):
        exact = original.gradients_of_draw(size, "float64", draw)
        recorded = original.gradients_of_draw(size, "float32", draw)
        with pinned("float32"):
            batch = case.first_batch(size, draw=draw)
            computed = port.gradients(candidate, weights, batch, size, "float32")
        found = {**computed.gradients, **computed.inputs}
        for name, truth in exact.items():
            for side, gradients in ((ours, found), (theirs, recorded)):
                side.append(distance(gradients, {name: truth}) / norm({name: truth}))
    mine, yours = (float(np.sqrt(np.mean(np.square(side)))) for side in (ours, theirs))
    name = "relative distance from the float64 gradients"
    ratio = mine / yours if yours else math.inf
    return Comparison((Difference(name, ratio, candidate=mine, reference=yours),))


def _masks(original: Original, size: int, dtype: str) -> list[Masks | None]:
    masks = original.masks(size, dtype)
    return [None] if masks is None else [None, masks]


def _run(
    original: Original, size: int, dtype: str, masks: Masks | None
) -> Callable[[Candidate], Comparison]:
    case = original.case
    batch = case.first_batch(size, masks)

    @cached_by_parts("from_arrays", "to_arrays", "scale", "logits", "loss", "reduce")
    def ours(candidate: Candidate) -> ValueAndGrad:
        with pinned(dtype):
            return port.gradients(candidate, case.weights(size, dtype), batch, size, dtype)

    theirs = functools.cache(functools.partial(original.gradients, size, dtype, batch))
    return lambda candidate: compare_values_and_grads(ours(candidate), theirs())
