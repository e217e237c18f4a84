"""All checks of the study's ports."""

from collections.abc import Callable, Iterator, Sequence

from parity.check import Check
from parity.study import (
    accuracy,
    forward,
    gradients,
    initialisation,
    losses,
    optimiser,
    pixels,
    shipped,
    structure,
    trajectory,
    weights,
)
from parity.study.candidate import is_called
from parity.study.golden_original import golden_originals
from parity.study.original import Original

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
    shipped.checks,
    accuracy.checks,
)


def originals(only: str | None = None) -> list[Original]:
    """Today's and those of 2018; of one port if `only` is its name, of both MLPs for "mlp".

    Raises:
        OriginalError: If a recording is absent or damaged, or Keras runs on another framework.
    """
    from parity.study.keras_original import KerasOriginal
    from parity.study.torch_original import TorchOriginal

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
