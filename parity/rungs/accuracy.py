"""Rung 10: equal predictions after equal training, equal accuracy after independent training."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from parity import candidate as port
from parity import equivalence
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, Difference
from parity.original import LiveOriginal, Original
from parity.precision import pinned
from parity.rungs.trajectory import final_weights, trained_by_original, trained_by_port


def checks(original: Original) -> Iterator[Check]:
    """Equal accuracy after independent training; equal predictions after the complete recipe."""
    # Recordings hold only samples of the weights, with which no prediction is possible.
    if not isinstance(original, LiveOriginal):
        return
    if original.case.trains_independently:
        yield original.check(
            10,
            case="independent training on photos, as committed",
            bound=1 - equivalence.CONFIDENCE,
            because="p value of two one-sided t tests with a margin of 5 points",
            run=_equivalence,
        )
    yield original.check(
        10,
        case="every prediction after the whole recipe",
        bound=0.0,
        because="labels are equal or not",
        run=functools.partial(_predictions, original),
        long=original.case.recipe_is_long,
    )


def _equivalence(candidate: Candidate) -> Comparison:
    result = equivalence.read_result()
    found = equivalence.tost(
        equivalence.accuracies(result, "jax"), equivalence.accuracies(result, "keras")
    )
    runs = min(len(result["runs"][side]) for side in ("jax", "keras"))
    # Also at least the planned number, because the spread of few runs is a poor estimate.
    needed = max(found.needed, equivalence.LEAST_SEEDS)
    reason = "" if runs >= needed else f"{runs} runs per framework, {needed} are needed"
    power = Difference("runs per framework", math.inf if reason else 0.0, reason=reason)
    learnt = [_learnt(result, side) for side in ("jax", "keras")]
    test = Difference(
        "p value of the test that the means differ by less than the margin",
        found.p,
        max_abs=abs(found.difference),
        candidate=float(np.mean(equivalence.accuracies(result, "jax"))),
        reference=float(np.mean(equivalence.accuracies(result, "keras"))),
    )
    return Comparison((power, *learnt, test), found.sentence())


def _learnt(result: dict[str, Any], side: str) -> Difference:
    # Guards the test, because two frameworks that learn nothing also reach equal accuracy.
    chance, runs = equivalence.share_at_chance(result, side)
    reason = f"{chance} of {runs} runs stayed at chance" if 2 * chance >= runs else ""
    name = f"{side}: most runs learnt"
    return Difference(name, math.inf if reason else 0.0, reason=reason)


def _predictions(original: LiveOriginal, candidate: Candidate) -> Comparison:
    training = original.whole_recipe
    pictures = np.concatenate([original.case.training_pictures(n) for n in (294, 192)])
    theirs = original.predict(
        final_weights(trained_by_original(original), training), pictures, "float64"
    )
    with pinned("float64"):
        weights = final_weights(trained_by_port(candidate, original), training)
        ours = port.predict(candidate, weights, pictures, training.image_size, "float64")
    differing = np.flatnonzero(ours.argmax(1) != theirs.argmax(1))
    first = f"picture {differing[0]} first" if differing.size else ""
    if len(np.unique(theirs.argmax(1))) < 2:
        return Comparison(
            (Difference("labels", math.inf, reason="the original gives every picture one label"),)
        )
    difference = Difference(
        "predicted labels",
        float(differing.size),
        max_abs=float(np.abs(ours - theirs).max()),
        reason=f"{differing.size} of {len(pictures)} differ, {first}" if differing.size else "",
    )
    return Comparison((difference,), f"{len(pictures)} predictions")
