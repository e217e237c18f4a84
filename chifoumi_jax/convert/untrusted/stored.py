"""A tensor that still lies in its file."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped


class Stored(NamedTuple):
    """What a file's header says of a tensor, so that it can be judged before memory is taken.

    Attributes:
        shape: Its shape.
        dtype: NumPy's name of its type, or the file's name of a type that NumPy lacks.
        read: Reads it into memory of its own.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Shaped[np.ndarray, "..."]]
