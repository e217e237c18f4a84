"""All checks of the study's ports."""

from collections.abc import Callable, Iterator, Sequence

from parity.candidate import is_called
from parity.check import Check
from parity.original import Original
from parity.originals.golden import golden_originals
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
    from parity.originals.keras_cnn import KerasOriginal
    from parity.originals.torch_mlp import TorchOriginal

    every: list[Original] = [
        KerasOriginal(),
        TorchOriginal("3"),
        TorchOriginal("2.1"),
        *golden_originals(),
    ]
    return [one for one in every if only is None or is_called(one.candidate, only)]


def checks(every: Sequence[Original]) -> list[Check]:
    """The ladder, from the lowest rung to the highest."""
    return [check for rung in _RUNGS for original in every for check in rung(original)]
