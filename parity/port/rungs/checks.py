"""The rungs that a comparison consists of, as checks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from parity.check import AbsentError, Check
from parity.comparison import Comparison
from parity.port.case import Case
from parity.port.layer import Arrays
from parity.port.perturbed import is_fresh, shaken
from parity.port.rungs.bounds import NUMBERS, Bound, bound_of
from parity.port.rungs.forward import compare_forward
from parity.port.rungs.gradients import compare_gradients
from parity.port.rungs.trajectory import compare_trajectory
from parity.precision import pinned

Run = Callable[[], Comparison]


def check(rung: str, case: str, bound: Bound, run: Run) -> Check:
    """A check that takes no candidate: what it compares is bound into it."""
    return Check(
        rung=NUMBERS[rung],
        candidate="candidate",
        original="reference",
        case=case,
        bound=bound.value,
        because=bound.because,
        run=lambda _: run(),
    )


def absent(reason: str) -> Run:
    """What stands in for a check that does not apply."""

    def run() -> Comparison:
        raise AbsentError(reason)

    return run


def computed_checks(
    rungs: tuple[str, ...], case: Case, given: Mapping[Any, float] | None, train: bool, why: str
) -> Iterator[Check]:
    """The checks that run the models.

    Args:
        rungs: Names of those that were asked for.
        case: Both sides, and their mapping.
        given: The user's bounds.
        train: Whether to compare anything but evaluation mode.
        why: Why the models cannot be compared, or an empty string.
    """
    exact = case.pair.dtype
    not_trained = why or ("" if train else "train=False was given")

    def forward(weights: Callable[[], Arrays], dtype: str, mode: bool) -> Run:
        def run() -> Comparison:
            with pinned(dtype):
                bound = bound_of("forward", dtype, given)
                return compare_forward(case, weights(), dtype, mode, bound.value)

        return run

    def pinned_run(compare: Callable[[Case], Comparison]) -> Run:
        def run() -> Comparison:
            with pinned(exact):
                return compare(case)

        return run

    if "forward" in rungs:
        layers = case.pair.reference.layers
        constants = case.mapping.constants
        fresh = set(is_fresh(case.weights)) - set(constants)
        for dtype in dict.fromkeys((exact, "float32")):
            run = forward(lambda: case.weights, dtype, False)
            name = f"evaluation, {dtype}"
            yield check("forward", name, bound_of("forward", dtype, given), _or(why, run))
        bound = bound_of("forward", exact, given)
        if fresh:
            run = forward(lambda: shaken(layers, case.weights, constants, case.seed), exact, False)
            yield check("forward", f"evaluation, {exact}, weights shaken", bound, _or(why, run))
        run = forward(lambda: case.weights, exact, True)
        reason = not_trained or _why_not_in_training(case)
        yield check("forward", f"training, {exact}", bound, _or(reason, run))
    mode = "training" if case.trains else "evaluation"
    for rung, compare in (("gradients", compare_gradients), ("trajectory", compare_trajectory)):
        if rung in rungs:
            bound = bound_of(rung, exact, given)
            run = pinned_run(compare)
            yield check(rung, f"{mode}, {exact}", bound, _or(not_trained, run))


def _or(reason: str, run: Run) -> Run:
    return absent(reason) if reason else run


def _why_not_in_training(case: Case) -> str:
    # A function that takes no mode is the same in both, and can be right only if the original is.
    return case.pair.candidate.why_no_training() if case.pair.reference.has_statistics else ""
