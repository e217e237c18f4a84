"""Rung 9 for the program that a recipe builds, which is the training that a user runs.

The other rungs compare the port's parts. Here `program.build` assembles them as `chifoumi train`
does, with the recipe's loss, optimiser and learning rate. The program draws its own dropout masks,
and the original trains with the same masks.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from chifoumi_jax.data.order import PADDING
from chifoumi_jax.data.pipeline import Photos
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import Program, build
from chifoumi_jax.training.step import device_mesh
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, Difference, compare_exactly
from parity.inputs import Training
from parity.original import LiveOriginal, Original
from parity.precision import pinned
from parity.rungs.trajectory import MAX_DISTANCE_RATIO, Run, distance_ratios, weights_only
from reference.legacy import seeded

DRAWS = seeded.DRAWS
_STANDARD_ERRORS = 5.0


def checks(original: Original) -> Iterator[Check]:
    """The recipe's settings, its dropout masks, and its training steps."""
    if not isinstance(original, LiveOriginal):
        return
    yield original.check(
        9,
        case="settings of the recipe",
        bound=0,
        because="equal or not",
        run=functools.partial(_settings, original),
    )
    if original.dropout_rate:
        yield original.check(
            9,
            case="dropout masks of the recipe",
            bound=_STANDARD_ERRORS,
            because="standard errors of the share of kept units; above 5 once in 2 million",
            run=functools.partial(_masks, original),
        )
    yield original.check(
        9,
        case=f"float32, 1, 5 and 20 steps of the recipe's program, {DRAWS} draws",
        bound=MAX_DISTANCE_RATIO,
        because="distance from float64, relative to that of the original's own float32",
        run=functools.partial(_steps, original),
    )


def _recipe(original: Original) -> Recipe:
    case = original.case
    # No augmentation, because rung 3 compares it; here both sides train on the same pixels.
    return case.recipe.replace(augmentation="none", image_size=case.size)


def _settings(original: LiveOriginal, candidate: Candidate) -> Comparison:
    recipe = original.case.recipe
    theirs = original.settings()
    ours = {name: getattr(recipe, name) for name in theirs}
    return compare_exactly(
        {name: np.array(value) for name, value in ours.items()},
        {name: np.array(value) for name, value in theirs.items()},
    )


def _masks(original: LiveOriginal, candidate: Candidate) -> Comparison:
    size, steps = 25, 40
    with pinned("float32"):
        program = _program(original, steps)
        rows = [program.noise(jax.random.key(0), jnp.int32(i), size, True) for i in range(steps)]
    kept = 1 - original.dropout_rate
    found = []
    for place, _ in enumerate(rows[0].masks or ()):
        drawn = np.stack([np.asarray(noise.masks[place]) for noise in rows if noise.masks])
        share = float(drawn.mean())
        error = abs(share - kept) / math.sqrt(kept * (1 - kept) / drawn.size)
        name = f"share kept, mask {place + 1}"
        found.append(Difference(name, error, candidate=share, reference=kept))
        if np.all(drawn == drawn[0]):
            found.append(Difference(name, math.inf, reason="every step has the same mask"))
    return Comparison(tuple(found))


def _steps(original: LiveOriginal, candidate: Candidate) -> Comparison:
    def runs() -> Iterator[Run]:
        for training in original.trainings("float32", original.case.size, range(DRAWS)):
            with pinned("float32"):
                mine, masked = _trained(original, candidate, weights_only(training))
            exact = {name: value.astype(np.float64) for name, value in training.weights.items()}
            truth = original.train(dataclasses.replace(masked, weights=exact), "float64")
            yield list(exact), mine, original.train(masked, "float32"), truth

    return distance_ratios(runs())


def _trained(
    original: LiveOriginal, candidate: Candidate, training: Training
) -> tuple[Mapping[str, np.ndarray], Training]:
    """Weights after the kept steps, and the training run with the masks that the program drew."""
    program = _program(original, len(training.batches))
    start = candidate.from_arrays(training.weights, training.image_size, "float32")
    key = jax.random.key(training.draw)
    state = program.init(key)._replace(params=nnx.state(start, nnx.Param))
    # Smaller batches are padded to a multiple of the number of devices, as in the pipeline.
    largest = max(len(batch.labels) for batch in training.batches)
    size = math.ceil(largest / program.devices) * program.devices
    batches: list[Any] = []
    found: dict[str, np.ndarray] = {}
    for number, batch in enumerate(training.batches):
        images = len(batch.labels)
        noise = program.noise(key, jnp.int32(number), size, bool(original.dropout_rate))
        masks: Any = noise.masks and tuple(np.array(mask)[:images] for mask in noise.masks)
        batches.append(type(batch)(batch.pixels, batch.labels, masks))
        places = np.arange(size, dtype=np.int32)
        photos = Photos(batch.pixels[places % images], batch.labels[places % images].astype("i4"))
        rows = np.where(places < images, places, PADDING)[None]
        state, _ = program.steps(state, photos, rows, 0, 1, key, bool(original.dropout_rate))
        if number + 1 in training.kept_steps:
            arrays = candidate.to_arrays(nnx.merge(program.graph, state.params))
            found |= {f"{number + 1}/params/{name}": np.array(a) for name, a in arrays.items()}
    return found, dataclasses.replace(training, batches=batches)


@functools.cache
def _program(original: Original, steps: int) -> Program:
    return build(_recipe(original), 3, steps, device_mesh())
