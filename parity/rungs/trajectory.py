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
from parity.candidate import CANDIDATES, Candidate
from parity.cases import (
    Masks,
    Training,
    cnn_masks,
    cnn_recipe,
    cnn_steps,
    mlp_recipe,
    mlp_steps,
    study_rows,
)
from parity.check import Check
from parity.comparison import (
    Comparison,
    Difference,
    compare,
    entries,
    values_of,
)
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
    if has_recipe(original):
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


def has_recipe(original: Original) -> bool:
    """Whether the original can train, or has trained, by the whole recipe."""
    return not isinstance(original, GoldenOriginal) or original.candidate == "study-cnn"


@functools.cache
def recipe(original: Original) -> Training:
    """The whole recipe in float64, on the masks and the order that the original used."""
    if isinstance(original, GoldenOriginal):
        return original.recipe("float64")
    if original.candidate == "study-cnn":
        rows = study_rows()
        masks = [cnn_masks(f"recipe {i}", len(chosen)) for i, chosen in enumerate(rows)]
        return cnn_recipe("float64", rows, masks)
    return mlp_recipe("float64", "3" if original.candidate == "study-mlp" else "2.1")


@functools.cache
def trained_by_original(original: Original) -> Mapping[str, Any]:
    """What the original's whole recipe ends with."""
    return original.train(recipe(original), "float64")


@functools.cache
def trained_by_port(candidate: Candidate, original: Original) -> Mapping[str, np.ndarray]:
    """What the port's whole recipe ends with."""
    with pinned("float64"):
        return port.train(candidate, recipe(original), "float64")


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
    (training,) = first_draws(original, "float64", 64, (0,))
    return training, original.train(training, "float64")


def _recipe(original: Original, candidate: Candidate) -> Comparison:
    training = recipe(original)
    ours = final_weights(trained_by_port(candidate, original), training)
    theirs = final_weights(trained_by_original(original), training)
    start = dict(training.weights)
    # The bound holds for all weights together; each by itself shows where a fault sits.
    found = [
        dataclasses.replace(d, error=_share([d.quantity], ours, theirs, start))
        if not d.reason
        else d
        for d in compare(ours, theirs).differences
    ]
    whole = _share(list(theirs), ours, theirs, start)
    found.append(Difference("all weights, of the distance travelled", whole))
    steps = len(training.batches)
    return Comparison(tuple(found), f"{steps} steps, {whole:.1e} of the distance travelled")


def _float32(
    original: Original, size: int, draws: Sequence[int], candidate: Candidate
) -> Comparison:
    last = FLOAT32_STEPS[size][-1]
    drawn = first_draws(original, "float32", size, draws, steps=last)
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
                squares.append(_distance(exact, here, like=kept) ** 2)
            return math.sqrt(np.mean(squares))

        ours = far(mine for _, mine, _, _ in runs)
        near = max(far(yours for _, _, yours, _ in runs), far(plain) if plain else 0.0)
        ratio = ours / near if near else math.inf
        name = f"distance from float64 after {step} steps"
        found.append(Difference(name, ratio, abs(ours - near), candidate=ours, reference=near))
    return Comparison(tuple(found))


def _truths(original: Original, size: int, draws: Sequence[int]) -> list[Mapping[str, Any]]:
    # Of a recording in float32 there is no float64 run on the same masks; the proven port's is it.
    if isinstance(original, GoldenOriginal):
        with pinned("float64"):
            sound = CANDIDATES[original.candidate]
            recorded = first_draws(original, "float64", size, draws, masks_from="float32")
            return [port.train(sound, in_float32(size, one), "float64") for one in recorded]
    every = first_draws(original, "float64", size, draws, steps=FLOAT32_STEPS[size][-1])
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


def first_draws(
    original: Original,
    dtype: str,
    size: int,
    draws: Sequence[int],
    masks_from: str | None = None,
    steps: int = seeded.STEPS,
) -> list[Training]:
    """The first steps of several draws, with the masks that a recording used.

    Pictures are drawn for no more of the CNN's steps than `steps`.
    """
    if original.candidate == "study-cnn":
        found = [cnn_steps(size, dtype, draw, steps) for draw in draws]
    else:
        dropout = original.candidate == "study-mlp"
        found = [mlp_steps(dtype, dropout, draw) for draw in draws]
    if isinstance(original, GoldenOriginal):
        found = [
            _with_masks(training, original.step_masks(masks_from or dtype, training.draw))
            for training in found
        ]
    return found


def _with_masks(training: Training, masks: Sequence[Masks | None]) -> Training:
    batches = [
        type(batch)(batch.pixels, batch.labels, mask and _cut(mask, len(batch.labels)))
        for batch, mask in zip(training.batches, masks, strict=True)
    ]
    return dataclasses.replace(training, batches=batches)


def _cut(masks: Masks, batch: int) -> Masks:
    # Recorded masks are padded to the largest batch.
    return tuple(mask[:batch] for mask in masks)


def _float32_cases(original: Original) -> list[tuple[int, tuple[int, ...]]]:
    if isinstance(original, GoldenOriginal):
        cnn = original.candidate == "study-cnn"
        return [(64, tuple(range(seeded.DRAWS)))] if cnn else [(32, (0,))]
    # At the small sizes `shipped` asks the same of the program that the recipe builds.
    return [(600, (0,))] if original.candidate == "study-cnn" else []


def _values(array: Any) -> np.ndarray:
    return values_of(array).astype(np.float64)


def _distance(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], like: Mapping[str, Any] | None = None
) -> float:
    like = theirs if like is None else like
    total = 0.0
    for name, kept in like.items():
        pair = [
            _values(side[name]) if type(side[name]) is type(kept) else entries(side[name], kept)
            for side in (ours, theirs)
        ]
        total += float(np.sum(np.square(pair[0].astype(np.float64) - pair[1])))
    return math.sqrt(total)


def _share(
    names: Sequence[str],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    start: Mapping[str, Any],
) -> float:
    mine, yours, begin = ({name: side[name] for name in names} for side in (ours, theirs, start))
    travelled = _distance(begin, yours)
    return _distance(mine, yours) / travelled if travelled else math.inf
