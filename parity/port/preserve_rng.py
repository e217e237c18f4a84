"""Preserves the state of the process's random number generators."""

import contextlib
import random
import sys
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def preserve_rng() -> Iterator[None]:
    """Restore the states of Python's, NumPy's and PyTorch's generators on exit."""
    with contextlib.ExitStack() as stack:
        # Creating a Keras layer draws a seed from Python's generator.
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        if "torch" in sys.modules:
            stack.enter_context(sys.modules["torch"].random.fork_rng(devices=[]))
        yield
