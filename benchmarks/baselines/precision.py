"""A step in each precision, and the time that memory and arithmetic need for what it must do.

Memory's bound counts each array once for each pass that must read or write it: of every layer its
input and, pooled, its output with the winners, forward and backward; all parameters with Adam's
moments and the gradient. What fits into a cache need not move, and what an implementation moves
besides is not counted. Arithmetic's bound is one product of square matrices with as many operations
as all of a step's have whose factors are whole arrays: gradients that leave out what the pooling
lost would have fewer.
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

# Steps in a call, as in a training's loop.
STEPS = 4
LAYERS = ((3, 32), (32, 32), (32, 64))


def ours(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """A step as a training takes it."""
    return _steps(precision, batch_size, image_size)


def xla(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """The same step by XLA's own convolutions, as on any other card."""
    # A process measures one way only.
    vars(cnn)["conv_relu_pool"] = conv_relu_pool_lax
    return _steps(precision, batch_size, image_size)


def memory(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """Moves as many bytes as a step must; factors of TF32 lie in memory as float32."""
    return _move(bytes_to_move(batch_size, image_size, 2 if precision == "bfloat16" else 4))


def product(precision: Precision, batch_size: int, image_size: int) -> Callable[[], None]:
    """Multiplies as much as a step must."""
    return _multiply(operations(batch_size, image_size), precision)


def operations(batch_size: int, image_size: int) -> int:
    """Multiplications and additions of a step's convolutions and products."""
    total, side = 0, image_size
    for number, (channels, out) in enumerate(LAYERS):
        # Forward, the kernel's gradient, and from the second layer on the input's.
        passes = 3 if number else 2
        total += passes * 2 * batch_size * (side - 2) ** 2 * 9 * channels * out
        side = (side - 2) // 2
    features = side**2 * LAYERS[-1][1]
    return total + 3 * 2 * batch_size * (features * 64 + 64 * inputs.CLASSES)


def bytes_to_move(batch_size: int, image_size: int, width: int) -> int:
    """Bytes that a step must read or write, activations being `width` bytes wide."""
    total = batch_size * image_size**2 * 3
    side, parameters = image_size, 0
    for number, (channels, out) in enumerate(LAYERS):
        pooled_side = (side - 2) // 2
        taken, pooled = batch_size * side**2 * channels, batch_size * pooled_side**2 * out
        # Forward: input, output, winners. Backward: the same again, and the input's gradient.
        total += 2 * (width * (taken + pooled) + pooled) + (width * taken if number else 0)
        parameters += 9 * channels * out + out
        side = pooled_side
    features = side**2 * LAYERS[-1][1]
    parameters += features * 64 + 64 + 64 * inputs.CLASSES + inputs.CLASSES
    # Read forward and backward; the gradient written; Adam reads four arrays and writes three.
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


def _move(count: int) -> Callable[[], None]:
    array = jnp.zeros(max(1, STEPS * count // 8), jnp.float32)
    # Half of the bytes are read, half are written.
    copy = jax.jit(lambda array: array + 1)
    return lambda: jax.block_until_ready(copy(array))


def _multiply(count: int, precision: Precision) -> Callable[[], None]:
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    # Rounded up to what tensor cores take at once.
    side = -(-round((STEPS * count / 2) ** (1 / 3)) // 128) * 128
    left, right = jax.random.normal(jax.random.key(0), (2, side, side), dtype)
    with matmul_precision(precision):
        multiply = jax.jit(jnp.matmul).lower(left, right).compile()
    return lambda: jax.block_until_ready(multiply(left, right))
