"""What is kept of a drawn array, and when two sets of draws have one distribution."""

import numpy as np


def moments(values: np.ndarray) -> list[float]:
    """Least, greatest, mean, mean square and mean fourth power of an array's entries."""
    x = np.asarray(values, np.float64)
    return [x.min(), x.max(), x.mean(), (x**2).mean(), (x**4).mean()]
