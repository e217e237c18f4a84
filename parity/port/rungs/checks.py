"""The checks of a comparison."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from parity.check import AbsentError, Check
from parity.comparison import Comparison
from parity.port.case import Case
from parity.port.layer import Arrays
from parity.port.perturbed import perturbed, uniform_parameters
from parity.port.rungs.bounds import RUNG_NUMBERS, Bound, bound_of
from parity.port.rungs.forward import compare_forward
from parity.port.rungs.gradients import compare_gradients
from parity.port.rungs.trajectory import compare_trajectory
from parity.precision import pinned

Run = Callable[[], Comparison]


def check(rung: str, case: str, bound: Bound, run: Run) -> Check:
    """A check that ignores its candidate, because `run` already holds both sides."""
    return Check(
        rung=RUNG_NUMBERS[rung],
        candidate="candidate",
        original="reference",
        case=case,
        bound=bound.value,
        because=bound.because,
        run=lambda _: run(),
    )


def absent(reason: str) -> Run:
    """A replacement for `run` in a check that does not apply."""

    def run() -> Comparison:
        raise AbsentError(reason)

    return run


def computed_checks(
    rungs: tuple[str, ...], case: Case, given: Mapping[Any, float] | None, train: bool, why: str
) -> Iterator[Check]:
    """The checks that run the models.

    Args:
        rungs: Names of the selected rungs.
        case: Both sides, and the mapping between them.
        given: The user's bounds.
        train: Whether to compare training mode, gradients and the trajectory.
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
        uniform = set(uniform_parameters(case.weights)) - set(constants)
        for dtype in dict.fromkeys((exact, "float32")):
            run = forward(lambda: case.weights, dtype, False)
            name = f"evaluation, {dtype}"
            yield check("forward", name, bound_of("forward", dtype, given), _absent_if(why, run))
        bound = bound_of("forward", exact, given)
        if uniform:
            run = forward(
                lambda: perturbed(layers, case.weights, constants, case.seed), exact, False
            )
            name = f"evaluation, {exact}, perturbed weights"
            yield check("forward", name, bound, _absent_if(why, run))
        run = forward(lambda: case.weights, exact, True)
        reason = not_trained or _why_not_in_training(case)
        yield check("forward", f"training, {exact}", bound, _absent_if(reason, run))
    mode = "training" if case.trains else "evaluation"
    for rung, compare in (("gradients", compare_gradients), ("trajectory", compare_trajectory)):
        if rung in rungs:
            bound = bound_of(rung, exact, given)
            run = pinned_run(compare)
            yield check(rung, f"{mode}, {exact}", bound, _absent_if(not_trained, run))


def _absent_if(reason: str, run: Run) -> Run:
    return absent(reason) if reason else run


def _why_not_in_training(case: Case) -> str:
    # A function without a mode computes the same in both modes, which is correct only if the
    # reference has no running statistics.
    return case.pair.candidate.why_no_training() if case.pair.reference.has_statistics else ""
