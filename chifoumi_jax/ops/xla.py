"""The plain implementation: XLA's own convolutions on whole arrays, with their own gradients.

It is for accelerators, which have fast library convolutions, and the reference for `xla_blocked`.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chifoumi_jax.ops.implementation import (
    Bias,
    Images,
    Implementation,
    Kernel,
    Pooled,
    Winner,
    without_winners,
)
from chifoumi_jax.ops.pooling import bias_gradient, relu_pool, unpool


def _convolve(images: Images, kernel: Kernel) -> Float[Array, "batch height-2 width-2 out"]:
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _forward(images: Images, kernel: Kernel, bias: Bias) -> tuple[Pooled, Winner]:
    return relu_pool(_convolve(images, kernel) + bias)


def _weight_gradients(
    images: Images, kernel: Kernel, gradient: Pooled, winner: Winner
) -> tuple[Kernel, Bias]:
    _, kernel_gradient = _pull_back(images, kernel, gradient, winner)
    return kernel_gradient, bias_gradient(gradient, winner)


def _image_gradient(images: Images, kernel: Kernel, gradient: Pooled, winner: Winner) -> Images:
    return _pull_back(images, kernel, gradient, winner)[0]


def _pull_back(
    images: Images, kernel: Kernel, gradient: Pooled, winner: Winner
) -> tuple[Images, Kernel]:
    values, pull_back = jax.vjp(_convolve, images, kernel)
    dense = unpool(gradient, winner)
    left_out = [(0, full - got) for full, got in zip(values.shape, dense.shape, strict=True)]
    images_gradient, kernel_gradient = pull_back(jnp.pad(dense, left_out))
    return images_gradient, kernel_gradient


implementation = Implementation(
    without_winners(_forward), _forward, _weight_gradients, _image_gradient
)
