"""A tensor that is not read from its file yet."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped


class StoredTensor(NamedTuple):
    """A tensor's description in a file's header, to be checked before memory is allocated.

    Attributes:
        shape: Its shape.
        dtype: NumPy's name of its dtype, or the file's name of a type that NumPy lacks.
        read: Reads it into a new array.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Shaped[np.ndarray, "..."]]
