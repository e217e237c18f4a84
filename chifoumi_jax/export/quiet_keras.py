"""Keras, imported without the two dozen lines that TensorFlow writes to standard error first."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    # Compiled code writes past `sys.stderr`, and reads no setting as early as this.
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _silenced():
    import keras
    from keras import layers, ops

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # JAX has the GPU's memory, and the comparison is the CPU's.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        # It looks for devices at the first operation.
        tf.zeros([])

__all__ = ["keras", "layers", "ops"]
