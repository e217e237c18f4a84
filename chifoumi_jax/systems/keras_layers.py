"""Keras' layers and losses of 2018, where JAX's or Flax's differ."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from chifoumi_jax.systems.convolution import convolve

# `K.epsilon()` of Keras 2.2.4.
_EPSILON = 1e-7

Maps = Float[Array, "batch height width channels"]


class Conv(nnx.Conv):
    """A 3 × 3 convolution that keeps the maps' size, by an operation with fast gradients."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
        glorot = nnx.initializers.glorot_uniform()
        super().__init__(inputs, outputs, (3, 3), kernel_init=glorot, rngs=rngs)

    def __call__(
        self, inputs: Float[Array, "batch height width in"], out_sharding: Any = None
    ) -> Float[Array, "batch height width out"]:
        """The maps; `inputs` have the dtype of the weights."""
        del out_sharding
        assert self.bias is not None
        padded = jnp.pad(inputs, [(0, 0), (1, 1), (1, 1), (0, 0)])
        return convolve(padded, self.kernel[...]) + self.bias[...]


class BatchNorm(nnx.Module):
    """Batch normalisation of Keras 2.2.4 on TensorFlow 1.12: momentum 0.99, epsilon 1e-3.

    A batch is normalised with its biased variance. The moving variance follows a larger one, which
    is corrected twice: by TensorFlow's N / (N - 1) and by Keras' N / (N - 1.001), where N counts
    the batch's values of a channel.

    The moving statistics are debiased: after t updates the k-th batch has the weight
    `0.01 * 0.99**(t - k) / (1 - 0.99**t)`, so that the initial 0 and 1 have none.

    Source: `keras.layers.BatchNormalization` of 2.2.4 and `assign_moving_average` of TensorFlow
    1.12 with `zero_debias`.
    """

    MOMENTUM = 0.99
    EPSILON = 1e-3

    def __init__(self, channels: int):
        self.scale, self.bias = nnx.Param(jnp.ones(channels)), nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.use_running_average = True

    def __call__(self, maps: Maps, updates: Int[Array, ""] | int = 0) -> Maps:
        """The normalised maps; in training mode the moving statistics are updated.

        Args:
            maps: The layer's input.
            updates: How often the moving statistics have been updated before.
        """
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            mean = maps.mean((0, 1, 2))
            var = jnp.square(maps - mean).mean((0, 1, 2))
            count = maps.size // maps.shape[-1]
            corrected = var * (count / (count - 1)) * (count / (count - (1 + self.EPSILON)))
            self._follow(self.mean, mean, updates)
            self._follow(self.var, corrected, updates)
        scale = self.scale[...] / jnp.sqrt(var + self.EPSILON)
        return (maps - mean) * scale + self.bias[...]

    def _follow(self, moving: nnx.BatchStat[Array], value: Array, updates: Any) -> None:
        momentum = jnp.asarray(self.MOMENTUM, value.dtype)
        # The sum of the weights of all batches before, then with this one.
        before = 1 - momentum ** jnp.asarray(updates, value.dtype)
        after = 1 - momentum ** jnp.asarray(updates + 1, value.dtype)
        biased = momentum * before * moving[...] + (1 - momentum) * jax.lax.stop_gradient(value)
        moving[...] = biased / after


def max_pool(maps: Maps) -> Float[Array, "batch height//2 width//2 channels"]:
    """The maxima of 2 × 2 windows, for an even number of rows and of columns.

    The first maximum of a window in row-major order gets the whole gradient.
    """
    largest, *others = (maps[:, i::2, j::2] for i in range(2) for j in range(2))
    for one in others:
        largest = jnp.where(one > largest, one, largest)
    return largest


def upsample(maps: Maps) -> Float[Array, "batch 2*height 2*width channels"]:
    """Every row and every column twice."""
    batch, height, width, channels = maps.shape
    wide = jnp.broadcast_to(maps[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return wide.reshape(batch, 2 * height, 2 * width, channels)


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
