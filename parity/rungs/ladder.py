"""All checks of the study's ports."""

from collections.abc import Callable, Iterator, Sequence

from parity.check import Check
from parity.original import Original
from parity.rungs import (
    accuracy,
    forward,
    gradients,
    initialisation,
    losses,
    optimiser,
    pixels,
    recipe_program,
    structure,
    trajectory,
    weights,
)
from parity.systems.registry import SYSTEMS, matches_name

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


def originals(only: str | None = None) -> list[Original]:
    """The originals on today's software and on that of 2018.

    Args:
        only: Selects the ports; see `matches_name`. All if None.

    Raises:
        OriginalError: If a recording is absent or damaged, or if Keras runs on another backend than
            TensorFlow.
    """
    return [
        original
        for case, originals_of_case in SYSTEMS
        if only is None or matches_name(case.name, only)
        for original in originals_of_case()
    ]


def checks(every: Sequence[Original]) -> list[Check]:
    """The ladder, from the lowest rung to the highest."""
    return [check for rung in _RUNGS for original in every for check in rung(original)]
