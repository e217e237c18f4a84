"""Depthwise convolution (each channel has its own kernel) with custom gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from chifoumi_jax.ops import depthwise_native, native
from chifoumi_jax.ops.depthwise_implementation import (
    DepthwiseImplementation,
    Images,
    Kernel,
    Result,
    accelerated,
    shifted,
)


def depthwise_conv(images: Images, kernel: Kernel, stride: int = 1) -> Result:
    """Keras' `DepthwiseConv2D(side, stride, padding="same")`, without a bias.

    The result equals that of `lax`'s grouped convolution up to rounding. If the padding is odd, the
    extra pixel is at the bottom and right, as in TensorFlow and XLA. On a CPU it is computed in
    C++, or by sums of shifted images if the C++ code is not compiled or does not support the dtype.
    Accelerators also use sums of shifted images, except for the kernel's gradient, which is XLA's.

    Args:
        images: Float images of any size.
        kernel: The kernel, 3 x 3 or 5 x 5, with the dtype of `images`.
        stride: 1 or 2.

    Returns:
        The same dtype as `images`: `ceil(height / stride)` rows, `ceil(width / stride)` columns.

    Raises:
        ValueError: If kernel, stride, channels or dtypes are not as described.
    """
    if len(images.shape) != 4:
        raise ValueError(
            f"images have shape {images.shape}; expected (batch, height, width, channels)"
        )
    if kernel.shape not in [(side, side, images.shape[3]) for side in (3, 5)]:
        raise ValueError(
            f"kernel has shape {kernel.shape}; expected (3, 3, channels) or (5, 5, channels), "
            f"and images of shape {images.shape} have {images.shape[3]} channels"
        )
    if stride not in (1, 2):
        raise ValueError(f"stride is {stride}; expected 1 or 2")
    if jnp.result_type(images) != jnp.result_type(kernel):
        raise ValueError(f"images are {images.dtype} and the kernel {kernel.dtype}; use one dtype")
    return _chosen(images, kernel, stride)


def differentiable(
    implementation: DepthwiseImplementation,
) -> Callable[[Images, Kernel, int], Result]:
    """Returns the operation with the implementation's gradients; it checks no arguments."""

    @partial(jax.custom_vjp, nondiff_argnums=(2,))
    def operation(images: Images, kernel: Kernel, stride: int) -> Result:
        return implementation.forward(images, kernel, stride)

    def run(images: Images, kernel: Kernel, stride: int) -> tuple[Result, tuple[Images, Kernel]]:
        return implementation.forward(images, kernel, stride), (images, kernel)

    def pull_back(
        stride: int, saved: tuple[Images, Kernel], gradient: Result
    ) -> tuple[Images, Kernel]:
        return (
            implementation.image_gradient(*saved, gradient, stride),
            implementation.kernel_gradient(*saved, gradient, stride),
        )

    operation.defvjp(run, pull_back)
    return operation


def _by_platform(name: str) -> Callable[..., Any]:
    # As in `conv_relu_pool`, the choice is made when XLA compiles and is never differentiated.
    def chosen(*arguments: Any) -> Array:
        *arrays, stride = arguments
        on_cpu = depthwise_native.implementation if native.serves(arrays[0].dtype) else shifted
        return lax.platform_dependent(
            *arrays,
            cpu=partial(_with_stride, getattr(on_cpu, name), stride),
            default=partial(_with_stride, getattr(accelerated, name), stride),
        )

    return chosen


def _with_stride(function: Callable[..., Array], stride: int, *arrays: Array) -> Array:
    return function(*arrays, stride)


_chosen = differentiable(
    DepthwiseImplementation(*map(_by_platform, DepthwiseImplementation._fields))
)
