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
from parity.systems.registry import CASES, is_called

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
    """Today's and those of 2018; of one port if `only` is its name, of both MLPs for "mlp".

    Raises:
        OriginalError: If a recording is absent or damaged, or Keras runs on another framework.
    """
    cases = [case for case in CASES.values() if only is None or is_called(case.name, only)]
    return [original for case in cases for original in case.originals()]


def checks(every: Sequence[Original]) -> list[Check]:
    """The ladder, from the lowest rung to the highest."""
    return [check for rung in _RUNGS for original in every for check in rung(original)]
