"""What errors are relative to."""

import numpy as np

from parity.port.layer import Arrays


def scales(arrays: Arrays, floor: float) -> dict[str, float]:
    """Each array's largest entry, or a share of the largest of all if that is more.

    A gradient that is zero but for rounding, such as a bias's before a batch normalization, would
    otherwise be compared with its own rounding.
    """
    sizes = {
        name: float(np.max(np.abs(array))) if array.size and np.all(np.isfinite(array)) else 0.0
        for name, array in arrays.items()
    }
    largest = max(sizes.values(), default=0.0)
    return {name: max(size, floor * largest) for name, size in sizes.items()}
