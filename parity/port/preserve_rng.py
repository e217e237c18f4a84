"""Leaving the process's random numbers as they were."""

import contextlib
import random
import sys
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Python's, NumPy's and PyTorch's generators are afterwards where they were before."""
    with contextlib.ExitStack() as stack:
        # Making a Keras layer draws a seed from Python's.
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        if "torch" in sys.modules:
            stack.enter_context(sys.modules["torch"].random.fork_rng(devices=[]))
        yield
