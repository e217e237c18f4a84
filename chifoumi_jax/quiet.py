"""Silencing libraries that write to standard error whatever they are asked."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stderr_silenced() -> Iterator[None]:
    """Discard what is written to standard error, also by compiled code; exceptions propagate.

    TensorFlow's compiled code writes to the file descriptor, not to `sys.stderr`, before it reads
    its log level.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
