"""Imports Keras without the two dozen lines that TensorFlow writes to standard error."""

import contextlib

from chifoumi_jax.quiet import stderr_silenced

with stderr_silenced():
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
