"""All checks of the study's ports."""

from collections.abc import Callable, Iterator, Sequence

from parity.check import Check
from parity.original import Original
from parity.originals.recorded_system import RecordedSystem
from parity.rungs import (
    accuracy,
    forward,
    gradients,
    initialisation,
    losses,
    optimiser,
    pixels,
    recipe_program,
    recorded_systems,
    small_systems,
    structure,
    trajectory,
    weights,
)
from parity.system_case import SystemOriginal
from parity.systems.registry import SMALL_SYSTEMS, SYSTEMS, matches_name

AnyOriginal = Original | SystemOriginal | RecordedSystem

_RUNGS: Sequence[Callable[[Original], Iterator[Check]]] = (
    structure.checks,
    initialisation.checks,
    pixels.checks,
    weights.checks,
    forward.checks,
    losses.checks,
    gradients.checks,
    optimiser.checks,
    trajectory.checks,
    recipe_program.checks,
    accuracy.checks,
)


def originals(only: str | None = None) -> list[AnyOriginal]:
    """The originals on today's software and on that of 2018.

    Args:
        only: Selects the ports; see `matches_name`. All if None.

    Raises:
        OriginalError: If a recording is absent or damaged, or if Keras runs on another backend than
            TensorFlow.
    """
    makers: list[tuple[str, Callable[[], Sequence[AnyOriginal]]]] = [
        *((case.name, make) for case, make in SYSTEMS),
        *((case.name, make) for case, make in SMALL_SYSTEMS),
    ]
    return [
        original
        for name, make in makers
        if only is None or matches_name(name, only)
        for original in make()
    ]


def checks(every: Sequence[AnyOriginal]) -> list[Check]:
    """The ladder, from the lowest rung to the highest."""
    found: list[Check] = []
    for original in every:
        if isinstance(original, SystemOriginal):
            found += small_systems.checks(original)
        elif isinstance(original, RecordedSystem):
            found += recorded_systems.checks(original)
        else:
            found += (check for rung in _RUNGS for check in rung(original))
    return sorted(found, key=lambda check: check.rung)
