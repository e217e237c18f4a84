"""Perturbed weights, because the zeros and ones of an untrained model would hide faults."""

from collections.abc import Sequence

import numpy as np

from parity.port.layer import Arrays, Layer

_RELATIVE_SIZE = 0.1


def perturbed(
    layers: Sequence[Layer], arrays: Arrays, constants: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """The weights with noise of a tenth of each array's root mean square (0.1 for zeros).

    The noise makes biases of 0, scales of 1 and running statistics of 0 and 1 distinguishable.
    Variances are multiplied by positive factors, so that they stay positive.

    Args:
        layers: The reference's layers.
        arrays: Its weights, by name.
        constants: Names of the arrays that are not perturbed.
        seed: Seed of the noise.
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
            found[name] = exact * np.exp(_RELATIVE_SIZE * noise)
        else:
            size = float(np.sqrt(np.mean(np.square(exact)))) if exact.size else 0.0
            found[name] = exact + _RELATIVE_SIZE * (size or 1.0) * noise
    return found


def uniform_parameters(arrays: Arrays) -> list[str]:
    """Names of the parameters whose entries are all equal, as in an untrained model only."""
    return [name for name, array in arrays.items() if array.size > 1 and np.ptp(array) == 0]
