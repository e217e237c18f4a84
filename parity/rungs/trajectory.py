"""Rung 9: training, step by step.

In float64 the weights after the study's complete recipe are equal up to rounding. In float32,
training is chaotic after some twenty steps, so that another quantity is compared: the distance of
JAX's weights from the float64 run may be at most twice that of the original's own float32 weights.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from parity import candidate as port
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import (
    Comparison,
    Difference,
    compare,
)
from parity.distance import compare_after_steps, distance, relative_to_movement
from parity.faults.plain_cnn import PlainCNN
from parity.inputs import Training
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from parity.precision import pinned
from reference.legacy import seeded

# Names of the weights; then the weights of the port, the original and the float64 run after the
# kept steps.
Run = tuple[Sequence[str], Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]

# Rounding in another order of summation gives ratios below this: measured 0.2 to 1.2. A fault gives
# ratios of ten and more.
MAX_DISTANCE_RATIO = 2.0
# Few steps at 600 pixels, because a step is slow and more steps add no information about the long
# sums.
FLOAT32_STEPS = {600: (1, 3), 64: seeded.KEPT_STEPS, 32: seeded.KEPT_STEPS}


def checks(original: Original) -> Iterator[Check]:
    """The first steps, the complete recipe, and the distances in float32."""
    yield original.check(
        9,
        case="float64, 1, 5 and 20 steps",
        bound=1e-9,
        because="weights, accumulators, losses; chosen far above rounding, far below any fault",
        run=functools.partial(_steps, original),
        quick=isinstance(original, LiveOriginal),
    )
    if original.has_whole_recipe:
        yield original.check(
            9,
            case="float64, the whole recipe",
            bound=1e-9,
            because="relative to the weights' movement; rounding alone was measured at 4e-15",
            run=functools.partial(_recipe, original),
            # From a recording, only the port trains.
            long=original.case.recipe_is_long and isinstance(original, LiveOriginal),
        )
    for size, draws in _float32_cases(original):
        yield original.check(
            9,
            case=f"float32, {listed(FLOAT32_STEPS[size])} steps, {size} px, {len(draws)} draws",
            bound=MAX_DISTANCE_RATIO,
            because="distance from float64, relative to that of the original's own float32, or of "
            "plain JAX if that is larger",
            run=functools.partial(_compare_float32, original, size, draws),
            long=size in original.case.large_sizes,
        )


@functools.cache
def trained_by_original(original: Original) -> Mapping[str, Any]:
    """The original's weights and accumulators after the complete recipe."""
    return original.train(original.whole_recipe, "float64")


@functools.cache
def trained_by_port(candidate: Candidate, original: Original) -> Mapping[str, np.ndarray]:
    """The port's weights and accumulators after the complete recipe."""
    with pinned("float64"):
        return port.train(candidate, original.whole_recipe, "float64")


def final_weights(trained: Mapping[str, Any], training: Training) -> dict[str, Any]:
    """The weights after the last kept step."""
    last = training.kept_steps[-1]
    return {name: trained[f"{last}/params/{name}"] for name in training.weights}


def _steps(original: Original, candidate: Candidate) -> Comparison:
    training, theirs = _first_steps(original)
    with pinned("float64"):
        ours = port.train(candidate, training, "float64")
    return compare(ours, theirs)


@functools.cache
def _first_steps(original: Original) -> tuple[Training, Mapping[str, Any]]:
    (training,) = original.trainings("float64", original.case.size, (0,))
    return training, original.train(training, "float64")


def _recipe(original: Original, candidate: Candidate) -> Comparison:
    training = original.whole_recipe
    ours = final_weights(trained_by_port(candidate, original), training)
    theirs = final_weights(trained_by_original(original), training)
    # The single weights show where a fault is; the bound is meant for all weights together.
    found = compare_after_steps(ours, theirs, training.weights, floor=0.0)
    relative = relative_to_movement(ours, theirs, training.weights)
    total = Difference("all weights, relative to their movement", relative)
    note = f"{len(training.batches)} steps, {relative:.1e} of the weights' movement"
    return Comparison((*found.differences, total), note)


def _compare_float32(
    original: Original, size: int, draws: Sequence[int], candidate: Candidate
) -> Comparison:
    last = FLOAT32_STEPS[size][-1]
    drawn = original.trainings("float32", size, draws, steps=last)
    trainings = [float32_training(size, one) for one in drawn]

    def trained(by: Candidate) -> list[Mapping[str, Any]]:
        with pinned("float32"):
            return [port.train(by, training, "float32") for training in trainings]

    runs = [
        (list(training.weights), mine, original.train(training, "float32"), truth)
        for training, mine, truth in zip(
            trainings, trained(candidate), _truths(original, size, draws), strict=True
        )
    ]
    steps = FLOAT32_STEPS[size]
    found = distance_ratios(runs, steps)
    if isinstance(original, LiveOriginal) and found.first_beyond(MAX_DISTANCE_RATIO) is not None:
        # Without oneDNN, as on some processors, TensorFlow was measured to be eight times closer to
        # float64; a recording is the same on every machine.
        found = distance_ratios(runs, steps, trained(PlainCNN().candidate()))
    return found


def distance_ratios(
    runs: Iterable[Run],
    steps: Sequence[int] = seeded.KEPT_STEPS,
    plain: Sequence[Mapping[str, Any]] = (),
) -> Comparison:
    """The port's distance from float64 after each kept step, relative to the original's float32.

    Args:
        runs: The runs of each draw.
        steps: The steps after which their weights were kept.
        plain: For each draw, the weights trained with XLA's own convolutions. If their distance is
            larger than the original's, the ratio is relative to it.
    """
    runs = list(runs)
    found = []
    for step in steps:

        def distance_from_float64(trained: Iterable[Mapping[str, Any]], step: int = step) -> float:
            squares = []
            for (names, _, yours, truth), weights in zip(runs, trained, strict=True):
                here, kept, exact = (
                    {name: run[f"{step}/params/{name}"] for name in names}
                    for run in (weights, yours, truth)
                )
                squares.append(distance(exact, here, like=kept) ** 2)
            return math.sqrt(np.mean(squares))

        ours = distance_from_float64(mine for _, mine, _, _ in runs)
        theirs = max(
            distance_from_float64(yours for _, _, yours, _ in runs),
            distance_from_float64(plain) if plain else 0.0,
        )
        ratio = ours / theirs if theirs else math.inf
        name = f"distance from float64 after {step} steps"
        found.append(Difference(name, ratio, abs(ours - theirs), candidate=ours, reference=theirs))
    return Comparison(tuple(found))


def _truths(original: Original, size: int, draws: Sequence[int]) -> list[Mapping[str, Any]]:
    # No float64 recording has the masks of a float32 one, so the port, already proven in float64,
    # is the ground truth.
    if isinstance(original, GoldenOriginal):
        with pinned("float64"):
            proven = original.case.port
            recorded = original.trainings("float64", size, draws, masks_from="float32")
            return [port.train(proven, float32_training(size, one), "float64") for one in recorded]
    every = original.trainings("float64", size, draws, steps=FLOAT32_STEPS[size][-1])
    return [original.train(float32_training(size, one), "float64") for one in every]


def float32_training(size: int, training: Training) -> Training:
    """The part of a training run that is compared in float32: few steps, and the weights alone."""
    steps = FLOAT32_STEPS[size]
    batches = training.batches[: steps[-1]]
    return dataclasses.replace(weights_only(training), batches=batches, kept_steps=steps)


def listed(numbers: Sequence[int]) -> str:
    """Numbers as text, such as "1, 5 and 20"."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}"


def weights_only(training: Training) -> Training:
    """The same training run, of which the optimiser's accumulators are not compared."""
    return dataclasses.replace(training, with_accumulators=False)


def _float32_cases(original: Original) -> list[tuple[int, tuple[int, ...]]]:
    case = original.case
    if isinstance(original, GoldenOriginal):
        return [(case.size, tuple(range(case.recorded_draws)))]
    # At the small size, `recipe_program` makes this check on the program that the recipe builds.
    return [(size, (0,)) for size in case.large_sizes]
