"""Imports Keras without the two dozen lines that TensorFlow writes to standard error."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    # Compiled code writes to the file descriptor, not to `sys.stderr`, before it reads any setting.
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


with _silenced():
    import keras
    from keras import layers, ops

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # JAX has reserved the GPU's memory, and the comparison runs on the CPU.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
        # The first operation searches for devices, so that its messages are silenced too.
        tf.zeros([])

__all__ = ["keras", "layers", "ops"]
