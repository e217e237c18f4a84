"""Rung 9: training, step for step.

In float64 the weights after the study's whole recipe are equal to rounding. In float32 training
is chaotic after some twenty steps, so that the question is another: are JAX's weights no farther
from the float64 run than twice the original's own float32 weights are?
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from parity import candidate as port
from parity.candidate import Candidate
from parity.cases import (
    Training,
)
from parity.check import Check
from parity.comparison import (
    Comparison,
    Difference,
    compare,
)
from parity.distance import compare_after_steps, distance, share_of_way
from parity.faults.plain_cnn import PlainCNN
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from parity.precision import pinned
from reference.legacy import seeded

# Names of the weights, and the port's, the original's and the float64 run's after the kept steps.
Run = tuple[Sequence[str], Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]

# Roundings of the same size in another order scatter by less than that: measured 0.2 to 1.2. A
# fault makes it tens and more.
NO_FARTHER = 2.0
# At 600 pixels a step is long, and more steps say nothing more of sums over so many places.
FLOAT32_STEPS = {600: (1, 3), 64: seeded.KEPT_STEPS, 32: seeded.KEPT_STEPS}


def checks(original: Original) -> Iterator[Check]:
    """The first steps, the whole recipe, and the distance in float32."""
    yield original.check(
        9,
        case="float64, 1, 5 and 20 steps",
        bound=1e-9,
        because="weights, means and losses; chosen far above rounding, far below any fault",
        run=functools.partial(_steps, original),
        quick=isinstance(original, LiveOriginal),
    )
    if original.whole_recipe is not None:
        yield original.check(
            9,
            case="float64, the whole recipe",
            bound=1e-9,
            because="relative to the distance travelled; rounding alone was measured at 4e-15",
            run=functools.partial(_recipe, original),
        )
    for size, draws in _float32_cases(original):
        yield original.check(
            9,
            case=f"float32, {said(FLOAT32_STEPS[size])} steps, {size} px, {len(draws)} draws",
            bound=NO_FARTHER,
            because="how far from float64, relative to how far the original's own float32 is, or "
            "plain JAX' where that is farther",
            run=functools.partial(_float32, original, size, draws),
        )


def whole_recipe(original: Original) -> Training:
    """The whole recipe of an original that has one."""
    training = original.whole_recipe
    assert training is not None
    return training


@functools.cache
def trained_by_original(original: Original) -> Mapping[str, Any]:
    """What the original's whole recipe ends with."""
    return original.train(whole_recipe(original), "float64")


@functools.cache
def trained_by_port(candidate: Candidate, original: Original) -> Mapping[str, np.ndarray]:
    """What the port's whole recipe ends with."""
    with pinned("float64"):
        return port.train(candidate, whole_recipe(original), "float64")


def final_weights(trained: Mapping[str, Any], training: Training) -> dict[str, Any]:
    """The weights among what training gave."""
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
    training = whole_recipe(original)
    ours = final_weights(trained_by_port(candidate, original), training)
    theirs = final_weights(trained_by_original(original), training)
    # The bound holds for all weights together; each by itself shows where a fault sits.
    found = compare_after_steps(ours, theirs, training.weights, floor=0.0)
    whole = share_of_way(ours, theirs, training.weights)
    together = Difference("all weights, of the distance travelled", whole)
    note = f"{len(training.batches)} steps, {whole:.1e} of the distance travelled"
    return Comparison((*found.differences, together), note)


def _float32(
    original: Original, size: int, draws: Sequence[int], candidate: Candidate
) -> Comparison:
    last = FLOAT32_STEPS[size][-1]
    drawn = original.trainings("float32", size, draws, steps=last)
    trainings = [in_float32(size, one) for one in drawn]

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
    found = no_farther(runs, steps)
    if isinstance(original, LiveOriginal) and found.first_beyond(NO_FARTHER) is not None:
        # On some processors TensorFlow does without oneDNN, whose sums were measured to be eight
        # times farther; a recording is the same everywhere.
        found = no_farther(runs, steps, trained(PlainCNN().candidate()))
    return found


def no_farther(
    runs: Iterable[Run],
    steps: Sequence[int] = seeded.KEPT_STEPS,
    plain: Sequence[Mapping[str, Any]] = (),
) -> Comparison:
    """How far from float64 after each kept step, relative to the original's own float32.

    Args:
        runs: Of each draw.
        steps: Which they kept.
        plain: What XLA's own convolutions give for each; they are what is compared with where they
            are farther than the original.
    """
    runs = list(runs)
    found = []
    for step in steps:

        def far(trained: Iterable[Mapping[str, Any]], step: int = step) -> float:
            squares = []
            for (names, _, yours, truth), weights in zip(runs, trained, strict=True):
                here, kept, exact = (
                    {name: run[f"{step}/params/{name}"] for name in names}
                    for run in (weights, yours, truth)
                )
                squares.append(distance(exact, here, like=kept) ** 2)
            return math.sqrt(np.mean(squares))

        ours = far(mine for _, mine, _, _ in runs)
        near = max(far(yours for _, _, yours, _ in runs), far(plain) if plain else 0.0)
        ratio = ours / near if near else math.inf
        name = f"distance from float64 after {step} steps"
        found.append(Difference(name, ratio, abs(ours - near), candidate=ours, reference=near))
    return Comparison(tuple(found))


def _truths(original: Original, size: int, draws: Sequence[int]) -> list[Mapping[str, Any]]:
    # No float64 recording has the masks of a float32 one. The ground truth is the port instead,
    # which is already proven in float64.
    if isinstance(original, GoldenOriginal):
        with pinned("float64"):
            sound = original.case.port
            recorded = original.trainings("float64", size, draws, masks_from="float32")
            return [port.train(sound, in_float32(size, one), "float64") for one in recorded]
    every = original.trainings("float64", size, draws, steps=FLOAT32_STEPS[size][-1])
    return [original.train(in_float32(size, one), "float64") for one in every]


def in_float32(size: int, training: Training) -> Training:
    """The steps of it that are looked at in float32, and the weights alone."""
    steps = FLOAT32_STEPS[size]
    batches = training.batches[: steps[-1]]
    return dataclasses.replace(weights_only(training), batches=batches, kept_steps=steps)


def said(numbers: Sequence[int]) -> str:
    """1, 5 and 20."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}"


def weights_only(training: Training) -> Training:
    """The same training, in which the optimiser's means are not looked at."""
    return dataclasses.replace(training, with_means=False)


def _float32_cases(original: Original) -> list[tuple[int, tuple[int, ...]]]:
    case = original.case
    if isinstance(original, GoldenOriginal):
        return [(case.size, tuple(range(case.recorded_draws)))]
    # At the small size `recipe_program` asks the same of the program that the recipe builds.
    return [(size, (0,)) for size in case.large_sizes]
