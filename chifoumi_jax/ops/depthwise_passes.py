"""What a way of computing depthwise convolution consists of, and the ways that XLA has."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Kernel = Float[Array, "side side channels"]
Result = Float[Array, "batch rows columns channels"]

Forward = Callable[[Images, Kernel, int], Result]


class DepthwisePasses(NamedTuple):
    """A forward pass and two backward passes; the last argument of each is the stride.

    The gradients are two functions, not one with two results: under `jit` an unused call is
    removed.
    """

    forward: Forward
    """From images and kernel."""

    kernel_gradient: Callable[[Images, Kernel, Result, int], Kernel]
    """From images, kernel and the result's gradient."""

    image_gradient: Callable[[Images, Kernel, Result, int], Images]
    """From images, kernel and the result's gradient."""


def _derived(forward: Forward) -> DepthwisePasses:
    """The passes whose gradients JAX derives."""

    def kernel_gradient(images: Images, kernel: Kernel, gradient: Result, stride: int) -> Kernel:
        _, pull_back = jax.vjp(lambda kernel: forward(images, kernel, stride), kernel)
        return pull_back(gradient)[0]

    def image_gradient(images: Images, kernel: Kernel, gradient: Result, stride: int) -> Images:
        _, pull_back = jax.vjp(lambda images: forward(images, kernel, stride), images)
        return pull_back(gradient)[0]

    return DepthwisePasses(forward, kernel_gradient, image_gradient)


def _grouped(images: Images, kernel: Kernel, stride: int) -> Result:
    return lax.conv_general_dilated(
        images,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=images.shape[3],
    )


def _shifted(images: Images, kernel: Kernel, stride: int) -> Result:
    sides = kernel.shape[:2]
    _, height, width, _ = images.shape
    around = lax.padtype_to_pads((height, width), sides, (stride, stride), "SAME")
    padded = jnp.pad(images, ((0, 0), *around, (0, 0)))
    down, across = (
        [slice(at, at + (-(-size // stride) - 1) * stride + 1, stride) for at in range(side)]
        for size, side in zip((height, width), sides, strict=True)
    )
    shifts = [
        padded[:, rows, columns] * kernel[dy, dx]
        for dy, rows in enumerate(down)
        for dx, columns in enumerate(across)
    ]
    return sum(shifts[1:], start=shifts[0])


grouped = _derived(_grouped)
"""XLA's own convolution, for accelerators."""

shifted = _derived(_shifted)
"""Sums of shifted images, for a CPU without compiled kernels, where XLA's own is slow."""
