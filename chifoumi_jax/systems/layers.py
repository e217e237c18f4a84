"""PyTorch's layers and losses of 2018, where today's or Flax's differ."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from chifoumi_jax.ops.pooling import relu_pool, unpool
from chifoumi_jax.systems.convolution import convolve

# Added to probabilities by PyTorch 1.0.0 where it divides by them, and the least that it takes a
# logarithm of.
_EPSILON = 1e-12


def uniform(bound: float) -> nnx.Initializer:
    """Draws uniformly from ±`bound`."""

    def draw(key: Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def torch_linear(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer with PyTorch's initial distribution: ±1/√inputs for weights and biases."""
    draw = uniform(1 / math.sqrt(inputs))
    return nnx.Linear(inputs, outputs, kernel_init=draw, bias_init=draw, rngs=rngs)


class Conv(nnx.Conv):
    """A convolution without padding, by an operation whose gradients are fast on a CPU."""

    def __call__(
        self, inputs: Float[Array, "batch height width in"], out_sharding: Any = None
    ) -> Float[Array, "batch rows columns out"]:
        """The maps; `inputs` have the dtype of the weights."""
        del out_sharding
        assert self.bias is not None
        return convolve(inputs, self.kernel[...]) + self.bias[...]


def torch_conv(inputs: int, outputs: int, size: int, rngs: nnx.Rngs) -> Conv:
    """A convolution without padding, with PyTorch's initial distribution: ±1/√(inputs · size²)."""
    draw = uniform(1 / math.sqrt(inputs * size * size))
    return Conv(inputs, outputs, (size, size), kernel_init=draw, bias_init=draw, rngs=rngs)


@jax.custom_vjp
def max_pool_relu(
    values: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height//2 width//2 channels"]:
    """`relu(max_pool2d(values, 2))`, for an even number of rows and of columns.

    The first maximum of a window in row-major order gets the whole gradient, and none passes where
    it is not above 0, both as in PyTorch 1.0.0.
    """
    return relu_pool(values)[0]


def _unpool(winner: Array, gradient: Array) -> tuple[Array]:
    return (unpool(gradient, winner),)


max_pool_relu.defvjp(relu_pool, _unpool)


def channel_major(
    maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height*width*channels"]:
    """Each image's values in a row, in the order of PyTorch's `view`: channels, rows, columns."""
    return maps.transpose(0, 3, 1, 2).reshape(len(maps), -1)


@jax.custom_jvp
def torch_binary_cross_entropy(
    probabilities: Float[Array, "*any"], targets: Float[Array, "*any"]
) -> Float[Array, "*any"]:
    """PyTorch 1.0.0's cross-entropy of each probability; targets are constants, in [0, 1].

    The logarithm of exactly 0 counts as that of 1e-12, and the gradient divides by
    `(1 - p + 1e-12) * (p + 1e-12)`. Today's PyTorch clamps logarithms at -100 instead. The two
    differ only where a sigmoid has reached 0 or 1.

    Source: PyTorch 1.0.0, `BCECriterion.c`.
    """
    return -(targets * _log(probabilities) + (1 - targets) * _log(1 - probabilities))


def _log(value: Array) -> Array:
    zero = value == 0
    return jnp.where(zero, math.log(_EPSILON), jnp.log(jnp.where(zero, 1, value)))


@torch_binary_cross_entropy.defjvp
def _cross_entropy_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    p, targets = primals
    # Without the barrier XLA adds the two constants first: 1 + 1e-12 is 1 in float32, so that the
    # divisor at p = 1 is 0 and the gradient is not a number.
    rest = jax.lax.optimization_barrier(1 - p)
    slope = (p - targets) / ((rest + _EPSILON) * (p + _EPSILON))
    return torch_binary_cross_entropy(p, targets), slope * tangents[0]
