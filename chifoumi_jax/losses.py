"""The losses of the study and of the default recipe; each returns one value per sample."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

# `K.epsilon()` of Keras 2.2.4.
_EPSILON = 1e-7

Loss = Callable[[Float[Array, "batch classes"], Int[Array, " batch"]], Float[Array, " batch"]]


def categorical_crossentropy(
    probabilities: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Keras 2.2.4's cross-entropy *from probabilities*: renormalise, clip, then take the log.

    The clip to [1e-7, 1 - 1e-7] limits a sample's loss to 16.118. Beyond the clip its gradient is
    exactly zero. At the bounds themselves the gradient passes unchanged, as in TensorFlow 1.12's
    `clip_by_value`. Standard Keras 3 uses the logits before the softmax and never clips.

    Source: `keras.backend.categorical_crossentropy` of Keras 2.2.4 on TensorFlow 1.12.
    """
    probabilities = probabilities / jnp.sum(probabilities, axis=-1, keepdims=True)
    low = jnp.asarray(_EPSILON, probabilities.dtype)
    clipped = _clip(probabilities, low, 1 - low)
    return -jnp.log(_at(clipped, labels))


def softmax_categorical_crossentropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """`categorical_crossentropy` after a softmax, which is the last layer of the study's CNN."""
    return categorical_crossentropy(jax.nn.softmax(logits), labels)


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Cross-entropy from logits, numerically stable for logits of any size.

    The study's MLP v3 applied PyTorch's `cross_entropy` to `log_softmax`; the value is the same.
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def cross_entropy_of_softmax(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Cross-entropy that treats *probabilities* as logits, a mistake of the study's MLP v2.1."""
    return cross_entropy(jax.nn.softmax(logits), labels)


def smoothed_cross_entropy(smoothing: float) -> Loss:
    """Cross-entropy from logits with labels smoothed by `smoothing`, spread over all classes."""

    def loss(
        logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))

    return loss


def class_weights(
    labels: Int[np.ndarray, " images"], num_classes: int
) -> Float[np.ndarray, " classes"]:
    """Class weights that give each class the same total weight; their mean over the images is 1."""
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * np.maximum(counts, 1))).astype(np.float32)


def weighted(loss: Loss, weights: Float[np.ndarray, " classes"]) -> Loss:
    """Returns the loss multiplied by the weight of each image's class."""

    def of_classes(
        logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        return loss(logits, labels) * jnp.asarray(weights, logits.dtype)[labels]

    return of_classes


def _clip(x: Array, low: Array, high: Array) -> Array:
    # At equality `jnp.clip` halves the gradient; TensorFlow passes it unchanged.
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def _at(values: Array, labels: Array) -> Array:
    return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]
