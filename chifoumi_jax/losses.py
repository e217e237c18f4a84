"""The losses of the study and of the default recipe, one value a sample."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

# Keras 2.2.4's `K.epsilon()`.
_EPSILON = 1e-7

Loss = Callable[[Float[Array, "batch classes"], Int[Array, " batch"]], Float[Array, " batch"]]


def categorical_crossentropy(
    probabilities: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Keras 2.2.4's cross-entropy *from probabilities*: renormalised, clipped, then the log.

    The clip to [1e-7, 1 - 1e-7] caps a sample at 16.118 and gives it a gradient of exactly zero
    from there on. At the bounds themselves the gradient passes whole, as TensorFlow 1.12's
    `clip_by_value` lets it. Stock Keras 3 uses the logits behind the softmax and never clips.

    Source: `keras.backend.categorical_crossentropy` of Keras 2.2.4 on TensorFlow 1.12.
    """
    probabilities = probabilities / jnp.sum(probabilities, axis=-1, keepdims=True)
    low = jnp.asarray(_EPSILON, probabilities.dtype)
    clipped = _clip(probabilities, low, 1 - low)
    return -jnp.log(_at(clipped, labels))


def softmax_categorical_crossentropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """`categorical_crossentropy` behind the softmax that is the study CNN's last layer."""
    return categorical_crossentropy(jax.nn.softmax(logits), labels)


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Cross-entropy from logits, stable at any size of them.

    The study's MLP v3 applied PyTorch's `cross_entropy` to `log_softmax`: the same value.
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def cross_entropy_of_softmax(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Cross-entropy that takes *probabilities* for logits, the slip of the study's MLP v2.1."""
    return cross_entropy(jax.nn.softmax(logits), labels)


def smoothed_cross_entropy(smoothing: float) -> Loss:
    """Cross-entropy from logits against labels that give `smoothing` away to all classes alike."""

    def loss(
        logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        one_hot = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
        return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing))

    return loss


def class_weights(
    labels: Int[np.ndarray, " images"], num_classes: int
) -> Float[np.ndarray, " classes"]:
    """Weights by which each class counts alike, their mean over the images being 1."""
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * np.maximum(counts, 1))).astype(np.float32)


def weighted(loss: Loss, weights: Float[np.ndarray, " classes"]) -> Loss:
    """A loss in which an image counts by its class's weight."""

    def of_classes(
        logits: Float[Array, "batch classes"], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        return loss(logits, labels) * jnp.asarray(weights, logits.dtype)[labels]

    return of_classes


def _clip(x: Array, low: Array, high: Array) -> Array:
    # `jnp.clip` halves the gradient at equality; TensorFlow passes it whole.
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def _at(values: Array, labels: Array) -> Array:
    return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]
