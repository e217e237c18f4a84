"""The interface of depthwise convolution implementations, and the implementations in XLA."""

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


class DepthwiseImplementation(NamedTuple):
    """A forward pass and two backward passes; the last argument of each is the stride.

    The gradients are two functions instead of one with two results, because `jit` removes calls
    whose result is unused.
    """

    forward: Forward
    """Computes the result from images and kernel."""

    kernel_gradient: Callable[[Images, Kernel, Result, int], Kernel]
    """Computes the kernel's gradient from images, kernel and the result's gradient."""

    image_gradient: Callable[[Images, Kernel, Result, int], Images]
    """Computes the images' gradient from images, kernel and the result's gradient."""


def _derived(forward: Forward) -> DepthwiseImplementation:
    """Returns an implementation whose gradients JAX derives from `forward`."""

    def kernel_gradient(images: Images, kernel: Kernel, gradient: Result, stride: int) -> Kernel:
        _, pull_back = jax.vjp(lambda kernel: forward(images, kernel, stride), kernel)
        return pull_back(gradient)[0]

    def image_gradient(images: Images, kernel: Kernel, gradient: Result, stride: int) -> Images:
        _, pull_back = jax.vjp(lambda images: forward(images, kernel, stride), images)
        return pull_back(gradient)[0]

    return DepthwiseImplementation(forward, kernel_gradient, image_gradient)


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


def _kernel_gradient_by_image(
    images: Images, kernel: Kernel, gradient: Result, stride: int
) -> Kernel:
    # Over the whole batch, XLA would read memory once for each kernel position and take four to
    # seven times as long (32 x 32 x 144, 3 x 3, and 8 x 8 x 240, 5 x 5; batch 32, jax 0.10).
    def add(total: Array, both: tuple[Array, Array]) -> tuple[Array, None]:
        image, of_image = both
        _, pull_back = jax.vjp(lambda kernel: _shifted(image[None], kernel, stride), kernel)
        return total + pull_back(of_image[None])[0], None

    # A sum over images needs more precision than the eight bits of bfloat16.
    zero = jnp.zeros(kernel.shape, jnp.promote_types(kernel.dtype, jnp.float32))
    total, _ = lax.scan(add, zero, (images, gradient))
    return total.astype(kernel.dtype)


accelerated = _derived(_shifted)._replace(kernel_gradient=_derived(_grouped).kernel_gradient)
"""For accelerators. XLA compiles a sum of shifted images, and its gradient with respect to the
images, into one GPU kernel each. Each takes 16 to 29 microseconds on an NVIDIA H200, where XLA's
convolution took 30 to 73 (float32, batch 32, five layers of EfficientNet-Lite0). For the gradient
of the convolution kernel, XLA would compile one GPU kernel per kernel position, which is up to six
times as slow as the gradient of its convolution."""

shifted = _derived(_shifted)._replace(kernel_gradient=_kernel_gradient_by_image)
"""Sums of shifted images, for CPUs without compiled kernels, where XLA's convolution is slow."""
