"""Keras' layers and losses of 2018, where JAX's or Flax's differ."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# `K.epsilon()` of Keras 2.2.4.
_EPSILON = 1e-7


def leaky_relu(x: Float[Array, "*any"], slope: float = 0.2) -> Float[Array, "*any"]:
    """LeakyReLU whose gradient at exactly 0 is `slope`, as TensorFlow's; `jax.nn`'s is 1 there."""
    return jnp.where(x > 0, x, slope * x)


def dropout(
    x: Float[Array, "batch units"], kept: Array | None, rate: float
) -> Float[Array, "batch units"]:
    """The values where `kept` is true, over `1 - rate`, and 0 elsewhere; all of `x` if None."""
    return x if kept is None else jnp.where(kept, x / (1 - rate), 0)


@jax.custom_jvp
def keras_binary_cross_entropy(
    probabilities: Float[Array, "*any"], targets: Float[Array, "*any"]
) -> Float[Array, "*any"]:
    """Keras 2.2.4's cross-entropy of each probability; targets are constants, in [0, 1].

    The probability is clipped to [1e-7, 1 - 1e-7], and the cross-entropy of its logit is taken.
    Beyond the clip the gradient is zero; at the bounds it passes.

    The gradient has TensorFlow's form. The plain derivative in JAX differs where the logit is 0,
    because JAX halves the gradients of `maximum` and drops that of `abs` there. It also differs
    near a probability of 1, where `1 - 2e-7 - 1` keeps two bits in float32.

    Source: `keras.backend.binary_crossentropy` of Keras 2.2.4 on TensorFlow 1.12.
    """
    x = _logit(_clip(probabilities))
    return jnp.maximum(x, 0) - x * targets + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _clip(p: Array) -> Array:
    low = jnp.asarray(_EPSILON, p.dtype)
    return jnp.clip(p, low, 1 - low)


def _logit(p: Array) -> Array:
    return jnp.log(p / (1 - p))


@keras_binary_cross_entropy.defjvp
def _cross_entropy_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    p, targets = primals
    clipped = _clip(p)
    x = _logit(clipped)
    exponential = jnp.exp(-jnp.abs(x))
    share = exponential / (1 + exponential)
    # The sigmoid minus the target. For a target of 1 the first term is exactly 0, so that a small
    # `share` keeps its digits.
    error = jnp.where(x >= 0, (1 - targets) - share, share - targets)
    slope = jnp.where(p == clipped, error / (clipped * (1 - clipped)), 0)
    return keras_binary_cross_entropy(p, targets), slope * tangents[0]
