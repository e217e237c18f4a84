"""A training step in each precision, and lower bounds of its time from memory and arithmetic.

The memory bound counts each array once for each pass that must read or write it. These arrays are
the input of every layer, its pooled output with the winners of max pooling, all parameters, Adam's
moments and the gradient; layers are counted forward and backward. Data that fits into a cache need
not move, and additional traffic of an implementation is not counted.

The arithmetic bound is one product of square matrices with as many operations as all products of a
step have together. It counts whole arrays: gradients that skip the positions that max pooling
dropped would need fewer operations.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.baselines import inputs
from chifoumi_jax import recipes
from chifoumi_jax.data.pipeline import Photos
from chifoumi_jax.models import cnn
from chifoumi_jax.ops import conv_relu_pool_lax
from chifoumi_jax.recipes import Precision
from chifoumi_jax.training.program import build
from chifoumi_jax.training.step import device_mesh, matmul_precision

# Steps in one call, as in the training loop.
STEPS = 4
# Input and output channels of the convolutions.
LAYERS = ((3, 32), (32, 32), (32, 64))


def ours(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """A training step of this project."""
    return _steps(precision, batch_size, image_size)


def xla(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """The same step with XLA's own convolutions, as on any other GPU."""
    # Patched for good, because a process measures only one implementation.
    vars(cnn)["conv_relu_pool"] = conv_relu_pool_lax
    return _steps(precision, batch_size, image_size)


def memory(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """Move as many bytes as a step must; TF32 factors are stored in memory as float32."""
    return _copy(bytes_to_move(batch_size, image_size, 2 if precision == "bfloat16" else 4))


def matmul(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """Do as many operations as a step must, in one matrix product."""
    return _matmul(operations(batch_size, image_size), precision)


def operations(batch_size: int, image_size: int) -> int:
    """Number of multiplications and additions in the convolutions and dense layers of a step."""
    total, size = 0, image_size
    for number, (channels, out) in enumerate(LAYERS):
        # Forward, kernel gradient, and from the second layer on the input gradient.
        passes = 3 if number else 2
        total += passes * 2 * batch_size * (size - 2) ** 2 * 9 * channels * out
        size = (size - 2) // 2
    features = size**2 * LAYERS[-1][1]
    return total + 3 * 2 * batch_size * (features * 64 + 64 * inputs.CLASSES)


def bytes_to_move(batch_size: int, image_size: int, width: int) -> int:
    """Number of bytes that a step must read or write, with activations of `width` bytes each."""
    total = batch_size * image_size**2 * 3
    size, parameters = image_size, 0
    for number, (channels, out) in enumerate(LAYERS):
        pooled_size = (size - 2) // 2
        source, pooled = batch_size * size**2 * channels, batch_size * pooled_size**2 * out
        # Forward: input, output, winners. Backward: the same again, and the input gradient.
        total += 2 * (width * (source + pooled) + pooled) + (width * source if number else 0)
        parameters += 9 * channels * out + out
        size = pooled_size
    features = size**2 * LAYERS[-1][1]
    parameters += features * 64 + 64 + 64 * inputs.CLASSES + inputs.CLASSES
    # Parameters are read forward and backward, and the gradient is written. Adam reads four arrays
    # and writes three.
    return total + parameters * (2 * width + 4 + 7 * 4)


def _steps(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    recipe = recipes.study_cnn.replace(image_size=image_size, precision=precision)
    program = build(recipe, inputs.CLASSES, 1000, device_mesh())
    keys = program.seeds(0)
    seed = keys[1]
    held: list[Any] = [program.init(keys[0])]
    photos = Photos(inputs.images(batch_size, image_size), inputs.labels(batch_size))
    photos = jax.device_put(photos, program.replicated)
    rows = np.tile(np.arange(batch_size, dtype=np.int32), (STEPS, 1))

    def work() -> None:
        state, _ = program.steps(held.pop(), photos, rows, 0, STEPS, seed, True)
        held.append(jax.block_until_ready(state))

    return work


def _copy(count: int) -> Callable[[], None]:
    array = jnp.zeros(max(1, STEPS * count // 8), jnp.float32)
    # Half of the bytes are read, and half are written.
    copy = jax.jit(lambda array: array + 1)
    return lambda: jax.block_until_ready(copy(array))


def _matmul(count: int, precision: Precision) -> Callable[[], None]:
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    # Rounded up to a multiple of 128, which tensor cores take at once.
    size = -(-round((STEPS * count / 2) ** (1 / 3)) // 128) * 128
    left, right = jax.random.normal(jax.random.key(0), (2, size, size), dtype)
    with matmul_precision(precision):
        multiply = jax.jit(jnp.matmul).lower(left, right).compile()
    return lambda: jax.block_until_ready(multiply(left, right))
