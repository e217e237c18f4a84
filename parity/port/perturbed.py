"""Weights that hide nothing: a fresh model's zeros and ones would."""

from collections.abc import Sequence

import numpy as np

from parity.port.layer import Arrays, Layer

_BY = 0.1


def shaken(
    layers: Sequence[Layer], arrays: Arrays, constants: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """The weights, each entry moved by some tenth of what its array's entries are.

    Biases of 0, scales of 1 and running statistics of 0 and 1 are then told apart.

    Args:
        layers: The reference's.
        arrays: Its weights.
        constants: Those that stay as they are.
        seed: Of the moves.
    """
    random = np.random.default_rng(seed)
    roles = {p.name: p.role for layer in layers for p in layer.parameters}
    found = {}
    for name, array in arrays.items():
        exact = array.astype(np.float64)
        noise = random.standard_normal(array.shape)
        if name in constants:
            found[name] = exact
        elif roles.get(name) == "var":
            found[name] = exact * np.exp(_BY * noise)
        else:
            size = float(np.sqrt(np.mean(np.square(exact)))) if exact.size else 0.0
            found[name] = exact + _BY * (size or 1.0) * noise
    return found


def is_fresh(arrays: Arrays) -> list[str]:
    """The parameters whose entries are all the same, as only a model has that was not trained."""
    return [name for name, array in arrays.items() if array.size > 1 and np.ptp(array) == 0]
